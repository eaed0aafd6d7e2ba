"""A real Slurm of two nodes: runs with srun and with sbatch, waiting, stopped, resumed, cancelled, and its own failures.

All but one use the fake trainer: what they show is what Slurm, the files and the pages say. That one comes after them,
because it needs the demo of all tests, and they can run while the demo does.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator

import pytest

from core.config.config import Config
from core.engine.cluster import Cluster
from core.engine.failures.by_slurm import said_by_slurm
from core.engine.failures.reasons import reason
from core.ground.errors import BadInput
from core.ground.files import write_json
from core.ground.workspace import Workspace
from core.headless.training import state_answer
from core.jobs import slurm as asking
from core.jobs import slurm_commands
from core.jobs.job import Job, Status, wait_until
from core.training import run as runs
from core.training.record import Run
from tests.conftest import PATIENCE
from tests.e2e.conftest import Demo, command
from tests.e2e.slurm_cluster import PARTITION, SlurmCluster, missing
from tests.e2e.test_distributed import MINUTES, new_config
from tests.pages.screen import open_page, texts

BATCH = Cluster(nnodes=2, launcher="slurm", batch=True)
SRUN = Cluster(nnodes=2, launcher="slurm", partition=PARTITION)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """Two nodes; Slurm's commands find them."""
    if why := missing():
        pytest.skip(why)
    cluster = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(cluster.conf))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def slurm(nodes: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """The same, with nothing left of earlier tests, and asked more often than is polite."""
    for name in ("_WAITING_SECONDS", "_RUNNING_SECONDS", "_LAG_SECONDS", "SILENT_SECONDS"):
        monkeypatch.setattr(asking, name, 0.2)
    monkeypatch.setattr(slurm_commands, "SILENT_SECONDS", 0.2)
    yield nodes
    nodes.say("scancel", "--user=root")
    nodes.wait_for(lambda: not nodes.queue(), "empty queue")


def started(workspace: Workspace, config: Config, cluster: Cluster) -> Run:
    return runs.start(workspace, config.name, cluster=cluster, asked=float("inf"))


def reaches(run: Run, status: Status) -> bool:
    return wait_until(lambda: run.state_at(None).status is status, PATIENCE)


def trains(run: Run) -> bool:
    return wait_until(lambda: run.job.progress.get("iter", 0) >= 2, PATIENCE)


@pytest.mark.usefixtures("slurm")
def test_a_run_waits_in_slurms_queue(workspace, config, fake_engine):
    fake_engine("slow")
    first, second = started(workspace, config, BATCH), started(workspace, config, BATCH)
    assert trains(first)
    assert wait_until(lambda: (told := second.state().slurm) is not None and told.place == 1, PATIENCE)
    answer = state_answer(second)
    assert (answer["status"], answer["place"], answer["slurm"]["of"]) == ("PENDING", 1, 1)
    assert runs.running(workspace) == first
    page = open_page("train", run=second.id)
    assert f"分区 {PARTITION} 的第 1 个，共 1 个" in texts(page)
    assert "失败" not in texts(page)
    page.button(key=f"stop-{second.job.directory}-True").click().run()
    assert reaches(second, Status.KILLED)
    assert "取消" in second.state().reason.zh
    assert not second.begun
    stopped = first.stop()
    assert (stopped.status, first.checkpoint().iter) == (Status.KILLED, stopped.iter)


def test_srun_waits_in_slurms_queue_too(workspace, config, fake_engine, slurm):
    fake_engine("slow")
    slurm.say("sbatch", "--nodes=2", "--output=/dev/null", "--wrap=sleep 600")
    run = started(workspace, config, SRUN)
    assert wait_until(lambda: (told := run.state().slurm) is not None and told.place == 1, PATIENCE)
    assert run.state().status is Status.PENDING
    assert runs.running(workspace) == run
    # There is nothing to save, so there is nothing to wait for.
    assert run.stop().status is Status.KILLED
    assert run.job.exit["seconds"] < PATIENCE
    assert slurm.queue() == ["RUNNING"]


@pytest.mark.parametrize("cluster", [BATCH, SRUN], ids=["sbatch", "srun"])
def test_cancelled_from_outside(workspace, config, fake_engine, slurm, cluster):
    fake_engine("slow")
    run = started(workspace, config, cluster)
    assert trains(run)
    slurm.say("scancel", "--user=root")
    assert reaches(run, Status.FAILED), run.job.log_tail()
    assert "不是由本应用" in run.state().reason.zh
    if any(checkpoint.whole for checkpoint in run.checkpoints()):
        fake_engine("ok", iters=run.state().iter + 4)
        runs.resume(workspace, run)
        assert reaches(run, Status.FINISHED), run.job.log_tail()


@pytest.mark.parametrize("cluster", [BATCH, SRUN], ids=["sbatch", "srun"])
def test_a_node_that_fails(workspace, config, fake_engine, slurm, cluster):
    fake_engine("slow")
    run = started(workspace, config, cluster)
    assert trains(run)
    slurm.say("scontrol", "update", "nodename=n2", "state=down", "reason=test")
    assert reaches(run, Status.FAILED), run.job.log_tail()
    assert "节点失效（n2）" in run.state().reason.zh
    slurm.wait_for(lambda: slurm.say("sinfo", "--noheader", "--format=%T").split() == ["idle"], "idle nodes")


def test_the_time_is_nearly_over(workspace, config, fake_engine, slurm):
    """Slurm's own warning comes minutes before the end: here the same signal comes at once."""
    fake_engine("slow")
    run = started(
        workspace, config, Cluster(nnodes=2, launcher="slurm", batch=True, time="0:20:00", options="--comment='a b'")
    )
    assert trains(run)
    told = slurm.say("squeue", "--noheader", "--format=%l|%k")
    assert told == "20:00|a b"
    slurm.say("scancel", "--batch", "--signal=USR1", str(run.job.slurm.id))
    assert reaches(run, Status.KILLED)
    assert "时限" in run.state().reason.zh
    assert run.checkpoint().iter == run.state().iter


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"partition": "nowhere"}, "Invalid partition name"),
        ({"nnodes": 3}, "Requested node configuration is not available"),
        ({"options": "--constraint=gold"}, "Invalid feature specification"),
    ],
)
@pytest.mark.parametrize("batch", [True, False], ids=["sbatch", "srun"])
@pytest.mark.usefixtures("slurm")
def test_refused_in_slurms_words(workspace, config, asked, words, batch):
    with pytest.raises(BadInput, match=words):
        started(workspace, config, Cluster(**{"nnodes": 2, "launcher": "slurm", "batch": batch, **asked}))
    assert runs.every(workspace) == []
    assert not list(workspace.runs.glob("2*"))


@pytest.mark.usefixtures("slurm")
def test_sbatch_is_not_heard_to_end(workspace, config, fake_engine, monkeypatch, tmp_path):
    """It submits, and the answer is lost: the job is found by its name, and there is one alone."""
    fake_engine("ok")
    real, lost = shutil.which("sbatch"), "sbatch: error: Batch job submission failed: Socket timed out on send/recv"
    (tmp_path / "sbatch").write_text(
        f'#!/bin/sh\ncase "$*" in *--test-only*) exec {real} "$@" ;; esac\n{real} "$@" >/dev/null\n'
        f'echo "{lost} operation" >&2\nexit 1\n'
    )
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    run = started(workspace, config, BATCH)
    assert run.job.slurm.id
    assert run.job.slurm.silent_since is None
    assert reaches(run, Status.FINISHED), run.job.log_tail()
    assert len(list(run.jobs.glob("train-*"))) == 1


def test_slurm_does_not_answer(workspace, config, fake_engine, slurm, monkeypatch):
    """What the run writes, and a stop that saves, need files alone."""
    # Once it was silent it is not asked by every look.
    for module in (asking, slurm_commands):
        monkeypatch.setattr(module, "SILENT_SECONDS", 30.0)
    fake_engine("slow")
    run = started(workspace, config, BATCH)
    assert trains(run)
    slurm.end("slurmctld")
    try:
        assert wait_until(lambda: run.state().slurm.silent_since, PATIENCE)
        assert run.state().status is Status.RUNNING
        assert "没有应答" in texts(open_page("train", run=run.id))
        before = run.state().iter
        assert wait_until(lambda: run.state().iter > before, PATIENCE)
        stopped = run.stop()
        assert (stopped.status, run.checkpoint().iter) == (Status.KILLED, stopped.iter)
    finally:
        slurm.start_control()
        slurm.wait_for(lambda: slurm.say("sinfo", "--noheader", "--format=%T").split() == ["idle"], "idle nodes")


@pytest.mark.usefixtures("slurm")
def test_a_lost_job_is_no_job_that_runs_for_ever(workspace, config, fake_engine):
    fake_engine("slow")
    run = started(workspace, config, BATCH)
    assert trains(run)
    # As if Slurm had forgotten it, and its node had been lost: no result, and a number that Slurm does not know.
    write_json(run.job.directory / asking.FILE, {"id": 999_999, "state": "RUNNING"})
    assert wait_until(lambda: run.state().slurm is None or run.job.slurm.state == asking.FORGOTTEN, PATIENCE)
    assert reaches(run, Status.CRASHED)
    assert "不记得" in run.state().reason.zh


def test_a_training_over_two_nodes_is_watched_stopped_and_resumed(apart: Demo, slurm: SlurmCluster) -> None:
    """The real engine. The nodes' names resolve nowhere, so that the processes meet where Slurm says that they are."""
    new_config(apart, "two-nodes", "max_epochs=4")
    begun = command(
        apart.workspace, "train", "start", "two-nodes", "--launcher", "slurm", "--nnodes", "2", "--batch", "--json"
    )  # fmt: skip
    assert begun.returncode == 0, begun.stderr[-2000:]
    run = runs.find(apart.workspace, json.loads(begun.stdout)["run"])
    assert slurm.say("squeue", "--noheader", "--format=%j").startswith(f"xtuner-{run.id}-train-1-")
    assert wait_until(lambda: run.job.progress.get("iter", 0) >= 2 or not run.job.status().live, MINUTES)
    assert run.state().loss is not None, run.job.log_tail(4000)
    stopped = run.stop()
    assert (stopped.status, run.checkpoint().iter) == (Status.KILLED, stopped.iter), run.job.log_tail(4000)
    slurm.wait_for(lambda: not slurm.queue(), "empty queue")

    resumed = command(apart.workspace, "train", "resume", run.id, "--wait", "--json")
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    points = run.metrics().read()
    assert [point["iter"] for point in points] == list(range(1, stopped.max_iters + 1))
    assert points[-1]["loss"] < points[0]["loss"]
    # Half of the rows each, so they trained together.
    whole = runs.find(apart.workspace, apart.answer["run"]).state().iters_per_epoch
    assert run.state().iters_per_epoch == -(-whole // 2)


LOG = "srun: error: n1: task 0: Terminated\n"
CANCELLED = "slurmstepd-n1: error: *** {} ON n1 CANCELLED AT 2026-11-28T02:05:56{} ***\n"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (CANCELLED.format("STEP 8.0", " DUE TO TIME LIMIT"), "time limit was reached"),
        (CANCELLED.format("JOB 8", " DUE TO PREEMPTION"), "preempted"),
        ("srun: error: Node failure on n2\n" + CANCELLED.format("STEP 8.0", " DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS"), r"failed in Slurm \(n2\)"),
        (CANCELLED.format("STEP 8.0", ""), "not by this app"),
        ("srun: error: Unable to allocate resources: Invalid partition name specified\n", "Invalid partition name"),
    ],
)  # fmt: skip
def test_what_slurm_wrote_into_the_log(log, words):
    told = said_by_slurm(log + LOG)
    assert told is not None
    assert re.search(words, told.en)


def test_a_process_that_fails_by_itself_was_not_cancelled():
    """Slurm then cancels the step of the others."""
    failed = (
        "ValueError: x\nsrun: error: n2: task 1: Exited with exit code 1\n" + CANCELLED.format("STEP 13.0", "") + LOG
    )
    assert said_by_slurm(failed) is None
    assert said_by_slurm("") is None


def test_what_slurm_says_where_the_log_says_nothing(tmp_path):
    """The daemon of the first node was killed: its step ends without a word."""
    write_json(tmp_path / "job.json", {"argv": ["srun"]})
    write_json(tmp_path / "exit.json", {"returncode": 143, "ended": 1.0, "seconds": 17.0, "error": None})
    (tmp_path / "log.txt").write_text("srun: launch/slurm: _step_signal: Terminating StepId=31.0\n")
    assert "143" in reason(Job(tmp_path)).en
    write_json(tmp_path / asking.FILE, {"id": 31, "state": "NODE_FAIL"})
    assert "node failed" in reason(Job(tmp_path)).en
