"""Runs of the fake trainer, in real processes: the files on disk determine the state of a run."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from core.config import config as configs
from core.ground.clock import since_boot
from core.ground.errors import BadInput
from core.ground.files import read_json, sha256
from core.ground.workspace import PROJECT
from core.jobs.job import Status, wait_until
from core.training import run as runs
from tests.conftest import PATIENCE, ended
from tests.core.conftest import alive, number_in

# What another process runs, with the tests' trainer.
START = """
import os, sys, time
from core.engine import commands
from core.ground.workspace import Workspace
from core.jobs.process import Identity
from core.training import run as runs
commands.ENTRY = "tests.fakes.trainer"
print(runs.start(Workspace.open(), sys.argv[1], asked=Identity.of(os.getpid()).started).id, flush=True)
if len(sys.argv) > 2:
    time.sleep(600)
"""


def test_finished(finished_run, config, dataset, workspace):
    run = finished_run
    state = run.state()
    assert (state.status, state.exit_code, state.reason, state.pid, state.eta_s) == (
        Status.FINISHED,
        0,
        None,
        None,
        None,
    )
    assert (state.run, state.iter, state.max_iters, state.iters_per_epoch, state.phase) == (run.id, 12, 12, 6, "train")
    assert state.loss == pytest.approx(2 / 12 + 0.1, abs=1e-5)
    assert [checkpoint.name for checkpoint in run.checkpoints()] == ["iter_4", "iter_8", "iter_12"]
    assert [at.iter for at in run.timeline()] == [0, 4, 8, 12]
    assert re.fullmatch(r"\d{8}-\d{6}-assistant-fast", run.id)
    facts = read_json(run.path / "run.json")
    assert facts["dataset"]["sha256"] == sha256(dataset.data)
    assert facts["config"]["preset"] == config.facts["preset"]
    assert facts["versions"]["xtuner"] == "0.2.0"
    assert facts["command"].startswith("xtuner train ")
    assert run.config.read_text(encoding="utf-8") == config.text()
    assert run.nickname == "小明"
    assert run.questions == ["请介绍一下你自己", "你在实战营做什么"]
    assert run.template.name == "internlm2_chat"
    assert runs.find(workspace, run.id) == runs.find(workspace, "latest") == run


def test_running(running_run, workspace):
    state = running_run.state()
    assert state.status is Status.RUNNING
    assert alive(state.pid)
    assert state.pid == running_run.job.pids["command"].pid
    assert 0 < state.iter < state.max_iters == 6000
    assert 0 < state.eta_s <= 600
    assert state.reason is None
    assert state.exit_code is None
    assert runs.running(workspace) == running_run
    assert wait_until(running_run.telemetry.exists, PATIENCE)


def test_stop_keeps_what_was_learned_and_resume_goes_on(running_run, workspace, fake_engine):
    state = running_run.stop()
    assert state.status is Status.KILLED
    assert state.pid is None
    assert state.reason.en == "stopped on request"
    (checkpoint,) = [c for c in running_run.checkpoints() if c.iter == state.iter]
    assert checkpoint.whole
    fake_engine("ok", iters=state.iter + 5)
    resumed = runs.resume(workspace, running_run)
    assert resumed == running_run
    assert [job.name for job in (resumed.job,)] == ["train-2"]
    assert ended(resumed.job) is Status.FINISHED
    assert str(checkpoint.path) in resumed.job.spec["argv"]
    points = resumed.metrics().read()
    assert [point["iter"] for point in points] == list(range(1, state.iter + 6))
    with pytest.raises(BadInput):
        runs.resume(workspace, resumed)


def test_stop_and_discard(running_run):
    state = running_run.stop(discard=True)
    assert state.status is Status.KILLED
    # It was given no time, so nothing was saved after it was asked.
    assert running_run.job.stop_request["grace"] == 0
    assert all(checkpoint.iter % 4 == 0 for checkpoint in running_run.checkpoints())
    assert state.exit_code != 0
    with pytest.raises(BadInput):
        running_run.stop()


def test_second_start_waits_while_one_trains(running_run, workspace, config, fake_engine):
    fake_engine("ok")
    second = runs.start(workspace, config.name)
    state = second.state()
    assert (state.status, state.place, state.pid, state.phase, state.seconds) == (Status.PENDING, 1, None, "queue", 0)
    assert runs.queued(workspace) == [second]
    assert runs.running(workspace) == running_run
    with pytest.raises(BadInput):
        runs.resume(workspace, running_run)
    with pytest.raises(BadInput):
        runs.resume(workspace, second)
    running_run.stop(discard=True)
    assert ended(second.job) is Status.FINISHED
    assert runs.queued(workspace) == []


def test_what_waits_is_reordered_and_taken_out(running_run, workspace, config, fake_engine):
    fake_engine("ok")
    first, second, third = (runs.start(workspace, config.name) for _ in range(3))
    assert runs.queued(workspace) == [first, second, third]
    runs.move(workspace, third, 1)
    assert runs.queued(workspace) == [third, first, second]
    runs.move(workspace, third, 99)
    assert [run.state_at(None).place for run in (first, second, third)] == [1, 2, 3]
    for run, place in ((running_run, 1), (first, 0)):
        with pytest.raises(BadInput):
            runs.move(workspace, run, place)
    state = first.stop()
    assert (state.status, state.exit_code, state.iter) == (Status.KILLED, None, 0)
    assert "queue" in state.reason.en
    assert runs.queued(workspace) == [second, third]
    # A run removed from the queue has no checkpoint to resume from: it starts.
    runs.resume(workspace, first)
    assert runs.queued(workspace) == [second, third, first]
    runs.move(workspace, third, 1)
    running_run.stop(discard=True)
    assert [ended(run.job) for run in (first, second, third)] == [Status.FINISHED] * 3
    began = [run.job.exit["ended"] - run.job.seconds for run in (third, second, first)]
    assert began == sorted(began)


def test_a_double_click_starts_one(running_run, workspace, config):
    """The second click was made before the first one's run existed."""
    again = runs.start(workspace, config.name, asked=since_boot() - 10 * PATIENCE)
    assert again == running_run
    assert runs.every(workspace) == [running_run]
    configs.change(workspace, config.name, {"lr": 1e-4})
    other = runs.start(workspace, config.name, asked=since_boot() - 10 * PATIENCE)
    assert other != running_run
    other.stop()


def test_start_of_what_cannot_be_trained(workspace, config):
    with pytest.raises(BadInput):
        runs.start(workspace, "nothing")
    configs.replace_text(workspace, config.name, config.text().replace("batch_size = 16", "batch_size = 0"))
    with pytest.raises(BadInput) as refused:
        runs.start(workspace, config.name)
    assert "batch_size" in str(refused.value)
    assert not workspace.runs.exists()


def test_start_with_a_model_that_has_lost_a_file(workspace, config, small_model):
    (small_model.path / "model.safetensors").unlink()
    with pytest.raises(BadInput) as refused:
        runs.start(workspace, config.name)
    assert "model.safetensors" in str(refused.value)
    assert not workspace.runs.exists()


@pytest.mark.parametrize("name", ["nothing", "../x", "", "latest"])
def test_run_that_is_not_there(workspace, name):
    with pytest.raises(BadInput):
        runs.find(workspace, name)


def test_failed_run_has_a_reason(failed_run):
    state = failed_run.state()
    assert (state.status, state.exit_code, state.iter) == (Status.FAILED, 1, 6)
    assert "out of GPU memory" in state.reason.en
    assert failed_run.checkpoint().iter == 4


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("fail", "the fake trainer fails as it was told"),
        ("killed", "SIGKILL"),
        ("exit0_without_checkpoint", "no final checkpoint"),
        ("truncated", "no final checkpoint"),
    ],
)
def test_no_run_is_finished_that_is_not(workspace, config, fake_engine, mode, words):
    fake_engine(mode)
    run = runs.start(workspace, config.name)
    ended(run.job)
    state = run.state()
    assert state.status is Status.FAILED
    assert words in state.reason.en


def test_failed_run_resumes_from_its_last_whole_checkpoint(workspace, config, fake_engine):
    fake_engine("truncated")
    run = runs.start(workspace, config.name)
    ended(run.job)
    assert [checkpoint.whole for checkpoint in run.checkpoints()] == [True, True, False]
    assert run.checkpoint().iter == 8
    for name in ("iter_12", "iter_12.pth", "12", "iter_5", "../x"):
        with pytest.raises(BadInput) as refused:
            run.checkpoint(name)
        assert "iter_8" in str(refused.value)
    for name in ("iter_4", "iter_4.pth", "4"):
        assert run.checkpoint(name).iter == 4
    fake_engine("ok")
    runs.resume(workspace, run)
    ended(run.job)
    assert run.state().status is Status.FINISHED
    assert [point["iter"] for point in run.metrics().read()] == list(range(1, 13))


def test_resume_without_a_checkpoint(workspace, config, fake_engine):
    fake_engine("exit0_without_checkpoint")
    run = runs.start(workspace, config.name)
    ended(run.job)
    with pytest.raises(BadInput) as refused:
        runs.resume(workspace, run)
    assert run.id in str(refused.value)


@pytest.mark.parametrize("mode", ["nan", "half_line"])
def test_odd_metrics_of_a_run(workspace, config, fake_engine, mode):
    fake_engine(mode)
    run = runs.start(workspace, config.name)
    assert ended(run.job) is Status.FINISHED
    points = run.metrics().read()
    if mode == "nan":
        assert [point["loss"] is None for point in points] == [False] * 6 + [True] * 6
        assert run.state().loss is None
    else:
        assert len(points) == 11
    assert run.state().status is Status.FINISHED


def test_what_a_trainer_leaves_behind_is_ended(workspace, config, fake_engine):
    fake_engine("spawn_orphans")
    run = runs.start(workspace, config.name)
    orphan = number_in(run.work_dir / "orphan.pid")
    assert ended(run.job) is Status.FINISHED
    assert not alive(orphan)


def test_kill_9_of_the_trainer(running_run, workspace):
    os.kill(running_run.state().pid, signal.SIGKILL)
    assert wait_until(lambda: running_run.state().status is Status.FAILED, PATIENCE)
    assert running_run.state().reason
    assert runs.running(workspace) is None


def test_kill_9_of_the_supervisor(running_run, workspace):
    pid = running_run.state().pid
    os.kill(running_run.job.pids["supervisor"].pid, signal.SIGKILL)
    assert wait_until(lambda: running_run.state().status is Status.CRASHED, PATIENCE)
    assert wait_until(lambda: not alive(pid), PATIENCE)
    assert "resume" in running_run.state().reason.en
    assert runs.running(workspace) is None


def elsewhere(config_name: str, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", START, config_name, *more],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_training_outlives_the_server_that_started_it(workspace, config, fake_engine):
    fake_engine("slow")
    server = elsewhere(config.name, "stay")
    run_id = server.stdout.readline().strip()
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    server.stdout.close()
    run = runs.running(workspace)
    assert run.id == run_id
    before = run.state().iter
    assert wait_until(lambda: run.state().iter > before, PATIENCE)
    assert run.stop(discard=True).status is Status.KILLED


def test_two_who_start_at_once_start_one(workspace, config, fake_engine):
    fake_engine("slow")
    both = [elsewhere(config.name) for _ in range(2)]
    said = [process.communicate(timeout=PATIENCE)[0].strip() for process in both]
    (run,) = runs.every(workspace)
    assert said == [run.id, run.id]
    run.stop(discard=True)


def test_run_directory_without_a_job(workspace, finished_run):
    for job in finished_run.jobs.iterdir():
        if job.is_dir():
            job.rename(finished_run.path / "gone")
    state = finished_run.state()
    assert state.status is Status.CRASHED
    assert state.reason
    assert runs.running(workspace) is None


def test_newest_first(workspace, config, fake_engine):
    fake_engine("ok")
    made = []
    for _ in range(2):
        made.append(runs.start(workspace, config.name))
        made[-1].job.wait(PATIENCE)
    assert runs.every(workspace) == made[::-1]
    assert runs.find(workspace, "latest") == made[1]
    assert made[0].id != made[1].id


def test_run_json_is_written_once(finished_run, workspace, fake_engine):
    before = (finished_run.path / "run.json").read_bytes()
    finished_run.state()
    fake_engine("oom")
    assert json.loads(before)["id"] == finished_run.id
    assert (finished_run.path / "run.json").read_bytes() == before
    assert [path.name for path in workspace.runs.iterdir() if path.is_dir()] == [finished_run.id]


def test_what_the_base_would_say_is_kept_by_wish_and_told_to_the_trainer(workspace, config, fake_engine):
    fake_engine("ok", iters=2)
    run = runs.start(workspace, config.name, keep=True)
    assert ended(run.job) is Status.FINISHED
    assert runs.find(workspace, run.id).facts.keep
    assert "XTUNER_STUDIO_KEEP" in run.job.spec["env"]
    # The data contain no answers of the model itself, so it is not the default.
    other = runs.start(workspace, config.name, keep=None)
    assert ended(other.job) is Status.FINISHED
    assert not other.facts.keep
    assert "XTUNER_STUDIO_KEEP" not in other.job.spec["env"]
