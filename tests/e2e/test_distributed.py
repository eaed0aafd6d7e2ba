"""Several processes and several machines with the real engine: train, stop, resume, convert."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.ground.workspace import PROJECT, Workspace
from core.jobs.job import Job, Status, wait_until
from core.jobs.process import marked
from core.training.record import Run
from core.training.run import find
from tests.e2e.conftest import Demo, command
from tests.ports import free_port

MINUTES = 900.0
SHORT = ["warmup_ratio=0.2", "evaluation_freq=1000", "save_steps=1000"]


def new_config(demo: Demo, name: str, *settings: str) -> None:
    dataset = json.loads((demo.run / "run.json").read_text(encoding="utf-8"))["dataset"]["name"]
    done = command(
        demo.workspace, "configs", "new", "--model", "demo", "--dataset", dataset, "--out", name, "--set", *SHORT, *settings
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def left_of(run: Run) -> list[int]:
    """Return the live processes of a run, including ranks in sessions of their own."""
    return [process.pid for process in marked("XTUNER_STUDIO_STOP", str(run.job.directory / "stop.json"))]


def ranks_of(run: Run) -> int:
    """Return the number of training processes: all have the run's mark, and torchrun itself is one more."""
    return len(left_of(run)) - 1


def test_two_processes_with_deepspeed_are_stopped_and_go_on(apart: Demo) -> None:
    new_config(apart, "two-processes", "max_epochs=4")
    started = command(
        apart.workspace, "train", "start", "two-processes", "--nproc", "2", "--deepspeed", "deepspeed_zero2", "--keep",
        "--port", str(free_port()), "--json",
    )  # fmt: skip
    assert started.returncode == 0, started.stderr[-2000:]
    run = find(apart.workspace, json.loads(started.stdout)["run"])
    assert wait_until(lambda: run.job.progress.get("iter", 0) >= 2 or not run.job.status().live, MINUTES)
    assert ranks_of(run) >= 2, run.job.log_tail(4000)
    state = run.stop()
    assert state.status is Status.KILLED, run.job.log_tail(4000)
    assert left_of(run) == []
    assert 0 < state.iter < state.max_iters
    saved = run.checkpoint()
    assert saved.iter == state.iter
    assert saved.path.is_dir()
    assert len(list(saved.path.glob("*optim_states.pt"))) == 2

    resumed = command(apart.workspace, "train", "resume", run.id, "--wait", "--json")
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    answer = json.loads(resumed.stdout)
    assert (answer["run"], answer["status"], answer["iter"]) == (run.id, "FINISHED", state.max_iters)
    argv = run.job.spec["argv"]
    assert {"--nproc_per_node=2", str(saved.path), "deepspeed_zero2"} <= set(argv)
    points = run.metrics().read()
    assert [point["iter"] for point in points] == list(range(1, state.max_iters + 1))
    assert points[-1]["loss"] < points[0]["loss"] / 2

    converted = command(apart.workspace, "export", "convert", run.id, "--json")
    assert converted.returncode == 0, converted.stderr[-2000:]
    assert Path(json.loads(converted.stdout)["path"], "adapter_model.safetensors").is_file()


@pytest.fixture
def hosts() -> Iterator[list[tuple[str, str]]]:
    """Two connected hosts: network namespaces and their addresses."""
    if shutil.which("ip") is None:
        pytest.skip("two hosts need the command ip: apt-get install iproute2")
    tag = uuid.uuid4().hex[:6]
    names = [f"studio-{tag}-{n}" for n in range(2)]
    wires = [f"st{tag}{n}" for n in range(2)]

    def ip(*words: str) -> None:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this machine refuses network namespaces: ip {' '.join(words)}: {done.stderr.strip()}")

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", wires[0], "netns", names[0], "type", "veth", "peer", "name", wires[1], "netns", names[1])
        for number, (name, wire) in enumerate(zip(names, wires, strict=True)):
            ip("-n", name, "addr", "add", f"10.77.0.{number + 1}/24", "dev", wire)
            ip("-n", name, "link", "set", wire, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield [(name, f"10.77.0.{number + 1}") for number, name in enumerate(names)]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def listening(host: str) -> set[tuple[str, str]]:
    """Return the addresses and ports on which one of these hosts listens."""
    told = subprocess.run(["ip", "netns", "exec", host, "ss", "-Hltn"], capture_output=True, text=True, check=True)
    return {tuple(line.split()[3].rsplit(":", 1)) for line in told.stdout.splitlines()}


def test_two_hosts_train_together_stop_and_go_on(apart: Demo, hosts: list[tuple[str, str]], tmp_path: Path) -> None:
    """Each host has its own workspace and runs the command that the first one's `train start` prints."""
    new_config(apart, "two-hosts", "max_epochs=4", "evaluation_freq=1000", "save_steps=1000")
    workspaces = [Workspace.open(tmp_path / name) for name, _ in hosts]
    for workspace in workspaces:
        for what in ("models", "datasets", "configs"):
            (workspace.root / what).symlink_to(apart.workspace.root / what)
    address = hosts[0][1]
    options = ["train", "start", "two-hosts", "--nnodes", "2", "--addr", address, "--port", "29511"]

    def on(number: int, *words: str) -> subprocess.CompletedProcess[str]:
        argv = ["ip", "netns", "exec", hosts[number][0], sys.executable, "-m", "core", *words]
        env = {**os.environ, "XTUNER_STUDIO_HOME": str(workspaces[number].root)}
        return subprocess.run(argv, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)

    first = on(0, *options, "--json")
    assert first.returncode == 0, first.stderr[-2000:]
    answer = json.loads(first.stdout)
    assert len(answer["commands"]) == 2
    second = on(1, *answer["commands"][1].split()[3:], "--json")
    assert second.returncode == 0, second.stderr[-2000:]
    runs = [find(workspace, "latest") for workspace in workspaces]

    def over(*expected: Status) -> None:
        for run, status in zip(runs, expected, strict=True):
            job: Job = run.job
            assert wait_until(lambda job=job: not job.status().live, MINUTES)
            assert run.state().status is status, job.log_tail(6000)

    try:
        assert wait_until(lambda: runs[0].job.progress.get("iter", 0) > 2, MINUTES), runs[0].job.log_tail(6000)
        assert (address, "29511") in listening(hosts[0][0])
        for name, own in hosts:
            assert {place for place, _ in listening(name)} <= {own, "127.0.0.1"}
        assert on(0, "train", "stop", "latest").returncode == 0
        over(Status.KILLED, Status.KILLED)
        assert "0 号机器" in runs[1].state().reason.zh
        stopped_at = runs[0].checkpoint()
        # Only the first host has the checkpoint, and the other one says so.
        lacking = on(1, "train", "resume", "latest")
        assert lacking.returncode == 2
        assert str(runs[1].work_dir) in lacking.stderr
        shutil.copyfile(stopped_at.path, runs[1].work_dir / stopped_at.path.name)
        for number in (0, 1):
            resumed = on(number, "train", "resume", "latest")
            assert resumed.returncode == 0, resumed.stderr[-2000:]
        over(Status.FINISHED, Status.FINISHED)
    finally:
        for run in runs:
            run.job.stop(discard=True)
    assert [point["iter"] for point in runs[0].metrics().read()] == list(range(1, runs[0].state().max_iters + 1))
    assert runs[0].state().iter == runs[1].state().iter == runs[0].state().max_iters
    # Half of the rows each, so they trained together.
    whole = find(apart.workspace, apart.answer["run"]).state().iters_per_epoch
    assert runs[0].state().iters_per_epoch == -(-whole // 2)
    assert runs[0].checkpoint().iter == runs[0].state().max_iters
    assert runs[0].job.spec["env"]["GLOO_SOCKET_IFNAME"].startswith("st")
