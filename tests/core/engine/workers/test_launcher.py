"""Two processes that train together, with torch's own gloo: what they listen on is theirs alone."""

import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from core.engine.commands import LAUNCHER, Cluster, train_command
from core.ground.workspace import PROJECT, Workspace
from core.jobs.job import wait_until
from core.training.cluster import cluster_environment

PATIENCE = 90.0
RANK = """
import os, sys, time, torch
import torch.distributed as dist
dist.init_process_group("gloo")
sum = torch.ones(1)
dist.all_reduce(sum)
here = sys.argv[1]
open(os.path.join(here, "rank" + os.environ["RANK"]), "w").write(str(int(sum.item())))
while not os.path.exists(os.path.join(here, "over")):
    time.sleep(0.05)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(*processes: subprocess.Popen) -> set[tuple[str, int]]:
    """All addresses that the processes and their children listen at, as the kernel's tables have them."""
    found = set()
    for process in processes:
        for one in (family := psutil.Process(process.pid), *family.children(recursive=True)):
            found |= {tuple(c.laddr) for c in one.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    return found


@pytest.fixture
def train(tmp_path: Path):
    """Starts the ranks of one machine as a training does, with a script of three lines for the trainer; those who
    have met are in `tmp_path`."""
    (tmp_path / "rank.py").write_text(RANK)
    started = []

    def start(cluster: Cluster, deepspeed: str | None = None) -> subprocess.Popen:
        argv = train_command(Workspace(tmp_path), Path("config.py"), tmp_path, cluster=cluster, deepspeed=deepspeed)
        assert argv[2] == LAUNCHER
        launcher = argv[: argv.index("-m", 3)]
        env = {**os.environ, **cluster_environment(cluster), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, *launcher[1:], str(tmp_path / "rank.py"), str(tmp_path)],
            cwd=PROJECT,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=(tmp_path / "stderr").open("a"),
        )
        started.append(process)
        return process

    yield start
    (tmp_path / "over").touch()
    for process in started:
        try:
            assert process.wait(PATIENCE) == 0, (tmp_path / "stderr").read_text()[-2000:]
        finally:
            process.kill()


def met(directory: Path, ranks: int) -> bool:
    return wait_until(lambda: all((directory / f"rank{n}").is_file() for n in range(ranks)), PATIENCE)


def test_on_one_machine_all_is_on_the_loopback(train, tmp_path):
    port = free_port()
    process = train(Cluster(nproc=2, port=port))
    assert met(tmp_path, 2), (tmp_path / "stderr").read_text()[-2000:]
    found = listens(process)
    assert ("127.0.0.1", port) in found
    assert len(found) >= 3, "the store, and each rank"
    assert {host for host, _ in found} == {"127.0.0.1"}


def test_deepspeed_in_one_process_too(train, tmp_path):
    process = train(Cluster(), "deepspeed_zero2")
    assert met(tmp_path, 1), (tmp_path / "stderr").read_text()[-2000:]
    assert listens(process)
    assert {host for host, _ in listens(process)} <= {"127.0.0.1", "::1"}


def python(*lines: str) -> subprocess.CompletedProcess[str]:
    """What a process that may import torch says."""
    return subprocess.run(
        [sys.executable, "-c", "\n".join(("from core.engine.workers import launcher", *lines))],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_addresses_that_cannot_be_listened_at():
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        done = python(f"launcher.opened('127.0.0.1', {taken.getsockname()[1]})")
        assert "RuntimeError" in done.stderr
        assert "Address already in use" in done.stderr
    # Other machines' addresses; a machine's own name, which others know by another address; no name for the loopback.
    for lines in (
        ["print(launcher.opened('192.0.2.77', 29500))"],
        ["print(launcher.opened('node0', 29500))"],
        [
            "def fails(*_): raise OSError",
            "launcher.socket.getnameinfo = fails",
            "print(launcher.opened('127.0.0.1', 0))",
        ],
    ):
        done = python(*lines)
        assert done.stdout.splitlines()[-1] == "None", done.stderr
