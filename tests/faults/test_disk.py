"""Files that are damaged, truncated or very large, a full disk, a clock that is set back."""

import contextlib
import os
import shutil
import subprocess
import time

import pytest

from core.ground.files import read_json, write_json
from core.jobs.job import Status, wait_until
from core.training import run as runs
from tests.conftest import PATIENCE, ended, read_by_us
from tests.fakes.checkpoint import write_checkpoint
from tests.pages.screen import open_page

HOUR = 3600.0


def test_half_written_metrics_line(workspace, start, fake_engine, fault):
    """The trainer is killed while writing a line of its metrics"""
    run = start("half_line")
    assert ended(run.job) is Status.FINISHED
    (scalars,) = run.work_dir.glob("*/vis_data/scalars.json")
    assert not scalars.read_text().endswith("\n")
    fault.shows(lambda: run.state().status, Status.FINISHED)
    assert [point["iter"] for point in run.metrics().read()] == list(range(1, 12))
    fault.leaves_nothing(run.job)
    fault.keeps(run, run.checkpoint().iter) if run.checkpoint().iter < 12 else fault.note(kept="iter_12")
    # An incomplete line from before a resume is not joined with what follows.
    (run.work_dir / "iter_12.pth").unlink()
    write_json(run.job.directory / "exit.json", {**run.job.exit, "returncode": 1})
    fake_engine("ok")
    fault.resumes(workspace, run, 12)


def test_log_of_500_mb(workspace, start, fake_engine, fault):
    """The log of a running training has grown to 500 MB"""
    run = start("slow", until=5)
    size = 500_000_000
    with run.job.log.open("r+b") as log:
        log.truncate(size)
    began = time.monotonic()
    fault.shows(lambda: run.state_at(None).status, Status.RUNNING)
    open_page("train")
    fault.note(page_seconds=round(time.monotonic() - began, 1))
    assert run.job.log.stat().st_size >= size
    state = run.stop()
    fault.leaves_nothing(run.job)
    fault.keeps(run, state.iter)
    before = read_by_us()
    assert run.state().reason.en == "stopped on request"
    assert read_by_us() - before < size / 20
    fake_engine("ok", iters=state.iter + 4)
    fault.resumes(workspace, run, state.iter + 4)


@pytest.fixture
def small_disk(workspace):
    """The runs of the workspace on a disk of their own with three megabytes."""
    workspace.runs.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(workspace.runs)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {done.stderr.strip()}")
    yield workspace.runs
    subprocess.run(["umount", "-l", str(workspace.runs)], check=False)


def test_disk_full(workspace, small_disk, start, fake_engine, fault, monkeypatch):
    """The disk is full when a checkpoint is to be written"""
    monkeypatch.setattr(runs, "check_space", lambda *_, **__: [])
    filler = small_disk / "filler"
    run = start("slow", until=1, iters=12, elements=150_000, seconds=0.3)
    assert wait_until(lambda: any(found.whole for found in run.checkpoints()), PATIENCE)
    # Fill everything except a few kilobytes, in which the next checkpoint does not fit.
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    assert wait_until(lambda: not run.job.status().live, PATIENCE)
    fault.shows(lambda: run.state().status, Status.FAILED)
    assert "disk is full" in run.state().reason.en, run.state().reason
    assert run.job.exit["returncode"] == 1
    fault.leaves_nothing(run.job)
    fault.keeps(run, 4)
    filler.unlink()
    for found in run.checkpoints():
        if not found.whole:
            found.path.unlink()
    fake_engine("ok", iters=12, elements=1000, seconds=0)
    fault.resumes(workspace, run, 12)


def test_disk_too_small_to_begin(workspace, small_disk, config, fake_engine, fault):
    """There is less disk space than the checkpoints will take"""
    assert small_disk.exists()
    fake_engine("ok")
    with pytest.raises(runs.BadInput, match=r"\d MB"):
        runs.start(workspace, config.name)
    assert runs.every(workspace) == []
    fault.note(status="refused, with the figures", seconds=0, left=0, kept="nothing was begun", resumed="not needed")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.95, 0.999])
def test_truncated_checkpoint(workspace, start, fake_engine, fault, part):
    """The last checkpoint is truncated"""
    run = start("fail", iters=22)
    assert ended(run.job) is Status.FAILED
    path = run.checkpoint().path
    assert run.checkpoint().iter == 8
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    fault.shows(lambda: run.state().status, Status.FAILED)
    fault.leaves_nothing(run.job)
    fault.keeps(run, 4)
    fake_engine("ok", iters=22)
    fault.resumes(workspace, run, 22)
    assert str(run.work_dir / "iter_4.pth") in run.job.spec["argv"]


def test_checkpoint_directory_without_a_shard(workspace, start, fake_engine, fault):
    """The last checkpoint is one of DeepSpeed's with a missing shard"""
    run = start("fail", iters=22)
    assert ended(run.job) is Status.FAILED
    last = run.work_dir / "iter_10.pth"
    write_checkpoint(last / "mp_rank_00_model_states.pt", {"dp_world_size": 2})
    write_checkpoint(last / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
    fault.shows(lambda: run.state().status, Status.FAILED)
    fault.keeps(run, 8)
    fault.leaves_nothing(run.job)
    fake_engine("ok", iters=22)
    shutil.rmtree(last)
    fault.resumes(workspace, run, 22)


def test_clock_set_back(workspace, start, config, fake_engine, fault):
    """The clock is set back by an hour during training"""
    run = start("slow", until=5)
    # From now on, earlier entries are an hour ahead of the clock.
    for file in ("job.json", "pid.json"):
        path = run.job.directory / file
        told = read_json(path)
        for name in ("created", "started"):
            if name in told:
                told[name] += HOUR
        write_json(path, told)
    facts = run.path / "run.json"
    write_json(facts, {**read_json(facts), "created": time.time() + HOUR})
    for file in (*run.work_dir.glob("*/vis_data/scalars.json"), run.job.directory / "progress.json", run.job.log):
        os.utime(file, (time.time() + HOUR,) * 2)
    run = runs.find(workspace, run.id)
    fault.shows(lambda: run.state_at(None).status, Status.RUNNING)
    state = run.state()
    assert 0 < state.seconds < HOUR / 2
    assert state.quiet_s < HOUR / 2
    assert 0 < state.eta_s <= 600
    # The run started now is the newest, and is queued.
    fake_engine("ok")
    second = runs.start(workspace, config.name)
    assert runs.find(workspace, "latest") == second
    assert runs.every(workspace) == [second, run]
    assert second.state_at(None).status is Status.PENDING
    stopped = run.stop()
    assert stopped.status is Status.KILLED
    assert 0 < stopped.seconds < HOUR / 2
    fault.leaves_nothing(run.job)
    assert ended(second.job) is Status.FINISHED
    fault.keeps(run, stopped.iter)
    fake_engine("ok", iters=stopped.iter + 4)
    fault.resumes(workspace, run, stopped.iter + 4)


def test_damaged_queue(workspace, start, config, fake_engine, fault):
    """The file with the order of the queue is damaged while a run is queued"""
    first = start("slow", until=1)
    fake_engine("ok")
    waiting = runs.start(workspace, config.name)
    (workspace.queue / "order.json").write_text('["/nowhere", ')
    fault.shows(lambda: waiting.state_at(None).status, Status.PENDING)
    first.stop(discard=True)
    assert ended(waiting.job) is Status.FINISHED
    fault.leaves_nothing(waiting.job)
    fault.keeps(waiting, 12)
    fault.note(resumed="not needed: it began by itself")
