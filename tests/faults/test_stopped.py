"""A stop at any moment: it returns when nothing is left running, and what was learned is kept if requested."""

import time

import pytest

from core.jobs.job import Status, wait_until
from core.training import run as runs
from tests.conftest import PATIENCE
from tests.core.conftest import alive, number_in
from tests.faults.conftest import MEASURED


def stopped(run, **how):
    """Stop the run and record how long that took."""
    began = time.monotonic()
    state = run.stop(**how)
    return state, round(time.monotonic() - began, 1)


@pytest.mark.parametrize("phase", ["import", "mapping"])
def test_stop_before_the_first_iteration(workspace, start, fake_engine, fault, phase):
    """Stop and save, while importing or in the data mapping with its workers"""
    run = start(phase)
    note = {"import": "import", "mapping": "prepare"}[phase]
    assert wait_until(lambda: run.job.progress.get("note") == note, PATIENCE)
    worker = number_in(run.work_dir / "orphan.pid") if phase == "mapping" else None
    state, seconds = stopped(run)
    # There is nothing to wait for.
    fault.stopped_in(seconds, 5)
    assert state.status is Status.KILLED
    fault.shows(lambda: run.state_at(None).status, Status.KILLED)
    fault.leaves_nothing(run.job)
    assert worker is None or not alive(worker)
    fault.keeps(run, None)
    fault.note(resumed="no: nothing was learned; a new start begins")
    fake_engine("ok")
    assert workspace.runs.exists()


def test_stop_during_a_save(workspace, start, fake_engine, fault):
    """Stop and save, while a checkpoint is being written"""
    run = start("saving", iters=40)
    assert wait_until(lambda: run.job.progress.get("note") == "save", PATIENCE)
    assert any(not found.whole for found in run.checkpoints()) or wait_until(run.checkpoints, PATIENCE)
    run.job.ask_to_stop(grace=1.5)
    state, seconds = stopped(run)
    assert state.status is Status.KILLED
    assert run.job.exit["returncode"] == 0
    fault.shows(lambda: run.state_at(None).status, Status.KILLED)
    fault.leaves_nothing(run.job)
    assert all(found.whole for found in run.checkpoints())
    fault.keeps(run, state.iter)
    fault.note(stop_seconds=seconds)
    fake_engine("ok", iters=state.iter + 4)
    fault.resumes(workspace, run, state.iter + 4)


def test_discard_during_a_save(workspace, start, fake_engine, fault):
    """Stop without saving, while the second checkpoint is being written"""
    run = start("stuck", until=8, iters=40)
    assert wait_until(lambda: len(run.checkpoints()) == 2 and not run.checkpoints()[1].whole, PATIENCE)
    state, seconds = stopped(run, discard=True)
    fault.stopped_in(seconds, 5)
    assert state.status is Status.KILLED
    fault.shows(lambda: run.state_at(None).status, Status.KILLED)
    fault.leaves_nothing(run.job)
    assert [found.whole for found in run.checkpoints()] == [True, False]
    fault.keeps(run, 4)
    fake_engine("ok", iters=12)
    fault.resumes(workspace, run, 12)


@pytest.mark.parametrize("how", ["keep", "discard"])
def test_stop_with_ranks_and_workers(workspace, start, fake_engine, fault, how):
    """Stop of a run whose ranks and data loader workers are in sessions of their own and ignore SIGTERM"""
    run = start("workers", until=5)
    rank = number_in(run.work_dir / "orphan.pid")
    state, seconds = stopped(run, discard=how == "discard")
    fault.stopped_in(seconds, 10)
    assert not alive(rank)
    fault.shows(lambda: run.state_at(None).status, Status.KILLED)
    fault.leaves_nothing(run.job, within=1 if MEASURED else PATIENCE)
    last = run.checkpoint().iter
    assert last == state.iter if how == "keep" else last <= state.iter
    fault.keeps(run, last)
    total = run.state().iter + 8
    fake_engine("ok", iters=total)
    fault.resumes(workspace, run, total)


def test_trainer_hangs(workspace, start, fake_engine, fault):
    """The trainer hangs in a step and ignores both the stop request and SIGTERM"""
    run = start("hang", until=6)
    assert wait_until((run.work_dir / "hanging").exists, PATIENCE)
    fault.shows(lambda: run.state().status, Status.RUNNING)
    assert wait_until(lambda: run.state().quiet_s > 1, PATIENCE)
    began = time.monotonic()
    assert run.job.stop(grace=1) is Status.KILLED
    fault.note(stop_seconds=round(time.monotonic() - began, 1))
    fault.leaves_nothing(run.job)
    fault.keeps(run, 4)
    fake_engine("ok")
    fault.resumes(workspace, run, 12)


def test_stop_of_a_run_that_waits(workspace, start, fake_engine, fault):
    """A queued run is removed while another one trains"""
    first = start("slow", until=1)
    fake_engine("ok")
    waiting = runs.start(workspace, first.facts.config.name)
    state, seconds = stopped(waiting)
    fault.stopped_in(seconds, 2)
    assert (state.status, state.exit_code) == (Status.KILLED, None)
    fault.shows(lambda: waiting.state_at(None).status, Status.KILLED)
    fault.leaves_nothing(waiting.job)
    assert first.state_at(None).status is Status.RUNNING
    first.stop(discard=True)
    fault.note(kept="nothing was learned yet")
    fault.resumes(workspace, waiting, 12)
