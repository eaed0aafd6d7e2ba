"""Something is killed with -9, or a tab or server disappears: nothing is lost and nothing is left over."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from core.ground.files import read_json, write_json
from core.ground.workspace import PROJECT
from core.jobs.job import Status, wait_until
from core.jobs.process import Identity
from core.training import run as runs
from tests.conftest import PATIENCE, ended
from tests.core.conftest import alive, number_in
from tests.core.training.test_run import elsewhere
from tests.faults.conftest import left_of
from tests.pages.screen import open_page


def status_of(run):
    return lambda: run.state_at(None).status


def test_server_killed_with_9(workspace, config, fake_engine, fault, tmp_path):
    """The server and its process group are killed with -9 while a run that it started is training"""
    fake_engine("slow", iters=40, gate=tmp_path / "gate")
    server = elsewhere(config.name, "stay")
    run_id = server.stdout.readline().strip()
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    server.stdout.close()
    run = runs.find(workspace, run_id)
    fault.shows(status_of(run), Status.RUNNING)
    before = run.state().iter
    (tmp_path / "gate").touch()
    assert wait_until(lambda: run.state().iter > before, PATIENCE)
    assert ended(run.job) is Status.FINISHED
    fault.leaves_nothing(run.job)
    fault.keeps(run, 40)
    fault.note(resumed="not needed: it trained on to its end")


def test_server_killed_while_a_run_waits(workspace, start, config, fake_engine, fault):
    """The server is killed with -9 while a run is queued; then the run before it ends"""
    first = start("slow", until=1)
    fake_engine("ok")
    server = elsewhere(config.name, "stay")
    waiting = runs.find(workspace, server.stdout.readline().strip())
    assert waiting.state_at(None).status is Status.PENDING
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    server.stdout.close()
    fault.shows(status_of(waiting), Status.PENDING)
    os.kill(first.state_at(None).pid, signal.SIGKILL)
    assert ended(waiting.job) is Status.FINISHED
    fault.leaves_nothing(waiting.job)
    fault.keeps(waiting, 12)
    fault.note(resumed="not needed: it began by itself")


def test_tab_closed_for_the_whole_run(workspace, config, fake_engine, fault, tmp_path):
    """The tab in which a run was started is closed immediately, and opened again when the run is over"""
    assert config.name
    fake_engine("slow", iters=20, gate=tmp_path / "gate")
    page = open_page("train")
    page.button(key="start_training").click().run()
    run = runs.find(workspace, "latest")
    del page
    fault.shows(status_of(run), Status.RUNNING)
    (tmp_path / "gate").touch()
    assert ended(run.job) is Status.FINISHED
    fault.leaves_nothing(run.job)
    fault.keeps(run, 20)
    shown = open_page("train")
    assert any("20 / 20" in str(metric.value) for metric in shown.metric)
    fault.note(resumed="not needed: it trained on to its end")


@pytest.mark.parametrize("who", ["supervisor", "supervisor and guard"])
def test_supervisor_killed_with_9(workspace, start, fake_engine, fault, who):
    """The supervisor of a run, or also its guard, is killed with -9; the run has a rank in a session of its own that
    ignores SIGTERM
    """
    run = start("workers", until=5)
    rank = number_in(run.work_dir / "orphan.pid")
    supervisor = run.job.pids["supervisor"].pid
    guard = psutil.Process(supervisor).ppid()
    if who == "supervisor and guard":
        os.kill(guard, signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)
    fault.shows(status_of(run), Status.CRASHED)
    assert "resume" in run.state_at(None).reason.en
    if who == "supervisor":
        assert wait_until(lambda: not alive(rank), PATIENCE)
        fault.leaves_nothing(run.job)
        assert read_json(run.job.directory / "lost.json")["returncode"] == -signal.SIGKILL
    else:
        # The trainer died with its supervisor. A rank of the fake one does not notice: the next turn ends it.
        assert wait_until(lambda: left_of(run.job) == [rank], PATIENCE)
        fault.note(left="0, once the next run has its turn")
    fault.keeps(run, run.checkpoint().iter)
    total = run.state().iter + 8
    fake_engine("ok", iters=total)
    fault.resumes(workspace, run, total)
    assert not alive(rank)


def test_supervisor_of_a_waiting_run_killed_with_9(workspace, start, config, fake_engine, fault):
    """The supervisor of a queued run is killed with -9"""
    before = start("slow", until=1)
    fake_engine("ok")
    run, next_one = (runs.start(workspace, config.name) for _ in range(2))
    os.kill(run.job.pids["supervisor"].pid, signal.SIGKILL)
    fault.shows(status_of(run), Status.CRASHED)
    assert "while it was queued" in run.state_at(None).reason.en
    assert runs.queued(workspace) == [next_one]
    assert before.state_at(None).status is Status.RUNNING
    before.stop(discard=True)
    assert ended(next_one.job) is Status.FINISHED
    fault.leaves_nothing(run.job)
    fault.keeps(run, None)
    fault.resumes(workspace, run, 12)


def test_trainer_killed_with_9(workspace, start, fake_engine, fault):
    """The trainer is killed with -9"""
    run = start("workers", until=5)
    os.kill(run.state().pid, signal.SIGKILL)
    fault.shows(status_of(run), Status.FAILED)
    assert "SIGKILL" in run.state().reason.en or "memory" in run.state().reason.en
    fault.leaves_nothing(run.job)
    fault.keeps(run, run.checkpoint().iter)
    total = run.state().iter + 8
    fake_engine("ok", iters=total)
    fault.resumes(workspace, run, total)


def test_pid_reused(workspace, start, fake_engine, fault):
    """Supervisor and trainer are gone, and their pids now belong to somebody else's processes"""
    run = start("slow", until=5)
    os.kill(run.job.pids["supervisor"].pid, signal.SIGKILL)
    assert run.job.wait(PATIENCE) is Status.CRASHED
    stranger = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], cwd=PROJECT, start_new_session=True
    )
    try:
        told = read_json(run.job.directory / "pid.json")
        own = Identity.of(stranger.pid)
        for role, forged in (("supervisor", {"start": own.start - 1}), ("command", {"boot": "another-boot"})):
            told[role] = {**own.to_json(), **forged}
        write_json(run.job.directory / "pid.json", told)
        fault.shows(status_of(run), Status.CRASHED)
        for identity in run.job.pids.values():
            assert not identity.alive()
            identity.signal(signal.SIGKILL)
            identity.signal_group(signal.SIGKILL)
        assert run.state().pid is None
        fault.keeps(run, run.checkpoint().iter)
        total = run.state().iter + 8
        fake_engine("ok", iters=total)
        fault.resumes(workspace, run, total)
        assert stranger.poll() is None
        fault.note(left="0, and the stranger's process lives")
    finally:
        stranger.kill()
        stranger.wait()


def test_machine_restarted(workspace, start, fake_engine, fault):
    """The machine was restarted during training: the files are unchanged, but from another boot"""
    run = start("slow", until=5)
    os.kill(run.job.pids["supervisor"].pid, signal.SIGKILL)
    assert run.job.wait(PATIENCE) is Status.CRASHED
    (run.job.directory / "lost.json").unlink()
    for file in ("job.json", "pid.json"):
        path = run.job.directory / file
        text = (
            path.read_text().replace(run.job.pids["command"].boot, "another-boot")
            if run.job.pids["command"]
            else path.read_text()
        )
        path.write_text(text)
    fault.shows(status_of(run), Status.CRASHED)
    assert 0 <= run.state_at(None).seconds < 3 * PATIENCE
    fault.leaves_nothing(run.job)
    fault.keeps(run, run.checkpoint().iter)
    total = run.state().iter + 8
    fake_engine("ok", iters=total)
    fault.resumes(workspace, run, total)


def test_two_servers_on_one_workspace(workspace, config, fake_engine, fault):
    """Two servers on one workspace are asked to start the same run at the same time"""
    fake_engine("slow")
    both = [elsewhere(config.name, "stay") for _ in range(2)]
    said = {process.stdout.readline().strip() for process in both}
    (run,) = runs.every(workspace)
    assert said == {run.id}
    fault.shows(status_of(run), Status.RUNNING)
    assert wait_until(lambda: run.state().iter > 4, PATIENCE)
    for process in both:
        process.kill()
        process.communicate()
    state = run.stop()
    assert state.status is Status.KILLED
    fault.leaves_nothing(run.job)
    fault.keeps(run, state.iter)
    fake_engine("ok", iters=state.iter + 4)
    fault.resumes(workspace, run, state.iter + 4)
