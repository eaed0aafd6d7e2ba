"""Two processes train together with torch's own gloo: only they can use the sockets they listen on."""

import errno
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from core.engine.cluster import Cluster
from core.engine.commands import LAUNCHER, train_command
from core.ground.workspace import PROJECT, Workspace
from core.jobs.job import wait_until
from core.training.cluster import cluster_environment, own_address
from tests.conftest import PATIENCE
from tests.ports import free_port

RANK = """
from core.ground import garbage
garbage.wait()
import os, sys, time, torch
import torch.distributed as dist
from core.engine.workers import near_store
near_store.below_the_word()
dist.init_process_group("gloo")
sum = torch.ones(1)
dist.all_reduce(sum)
here = sys.argv[1]
open(os.path.join(here, "rank" + os.environ["RANK"]), "w").write(str(int(sum.item())))
while not os.path.exists(os.path.join(here, "over")):
    time.sleep(0.05)
"""
STARTING = "from core.ground import garbage; garbage.wait()"
# What any account of the machine may try, in torch's own protocol, and everything it may guess.
GUESSES = """
import sys
import torch.distributed as dist
store = dist.TCPStore("127.0.0.1", int(sys.argv[1]), is_master=False)
names = [f"{above}{below}" for above in ("", "none/", "/worker/attempt_0/") for below in sys.argv[2:]]
print(store.num_keys() > 2, [name for name in names if store.check([name])])
"""


def listens(*processes: subprocess.Popen) -> set[tuple[str, int]]:
    """Return all addresses on which the processes and their children listen, from the kernel's tables."""
    found = set()
    for process in processes:
        for one in (family := psutil.Process(process.pid), *family.children(recursive=True)):
            found |= {tuple(c.laddr) for c in one.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    return found


@pytest.fixture
def train(tmp_path: Path):
    """Start the ranks of one machine like a run, with a script of three lines as trainer.

    Ranks that have met leave a file in `tmp_path`.
    """
    (tmp_path / "rank.py").write_text(RANK)
    started = []

    def start(cluster: Cluster, deepspeed: str | None = None) -> subprocess.Popen:
        argv = train_command(Workspace(tmp_path), Path("config.py"), tmp_path, cluster=cluster, deepspeed=deepspeed)
        assert argv[2] == LAUNCHER
        launcher = argv[: argv.index("-m", 3)]
        env = {**os.environ, **cluster_environment(cluster), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
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
    # Everybody can connect to the loopback interface.
    names = ("torchelastic/role_info/0", "default_pg/0//cpu//0/0", "default_pg/0//cpu//0/1")
    asked = [sys.executable, "-c", GUESSES, str(port), *names]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.stdout == "True []\n", done.stderr


def test_deepspeed_in_one_process_too(train, tmp_path):
    process = train(Cluster(), "deepspeed_zero2")
    assert met(tmp_path, 1), (tmp_path / "stderr").read_text()[-2000:]
    assert listens(process)
    assert {host for host, _ in listens(process)} <= {"127.0.0.1", "::1"}


def python(*lines: str) -> subprocess.CompletedProcess[str]:
    """Return the output of a process that may import torch."""
    return subprocess.run(
        [sys.executable, "-c", "\n".join((STARTING, "from core.engine.workers import near_store", *lines))],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_on_several_machines_it_is_at_the_address_that_was_named():
    """If only the loopback interface has a name and addresses have none, as on many clusters."""
    here, port = own_address(), free_port()
    if here.startswith("127."):
        pytest.skip("this machine has no address but the loopback")
    done = python(
        "import socket, threading, torch.distributed as dist, psutil",
        "from datetime import timedelta",
        "near_store.install()",
        f"ends = dict(wait_for_workers=False, timeout=timedelta(seconds={PATIENCE}))",
        f"server = near_store._rendezvous.TCPStore({here!r}, {port}, is_master=True, multi_tenant=True, use_libuv=True, **ends)",
        f"clients = [dist.TCPStore({here!r}, {port}, **ends) for _ in range(20)]",
        "threading.Timer(0.5, clients[0].set, ('late', 'x' * 3_000_000)).start()",
        "print(len(clients[1].get('late')), len(server.get('late')))",
        "print(sum(client.add('n', 1) == n + 1 for n, client in enumerate(clients)))",
        "del clients[5:15]",
        "print(clients[-1].add('n', 1))",
        "listening = [c.laddr for c in psutil.Process().net_connections('tcp') if c.status == 'LISTEN']",
        f"print([tuple(l) == ({here!r}, {port}) or l.ip == '127.0.0.1' != {port} for l in listening])",
        f"print(socket.socket().connect_ex(('127.0.0.1', {port})))",
    )
    assert done.stdout.splitlines() == ["3000000 3000000", "20", "21", "[True, True]", str(errno.ECONNREFUSED)], (
        done.stderr
    )


def test_addresses_that_cannot_be_listened_at():
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        done = python(f"near_store._opened('127.0.0.1', {taken.getsockname()[1]})")
        assert "RuntimeError" in done.stderr
        assert "Address already in use" in done.stderr
    # Another machine's address, as with a forwarded port; the machine's own name, which others resolve to another
    # address; a name that is not the loopback's.
    done = python(
        "print(near_store._opened('192.0.2.77', 29500))",
        "near_store.socket.getaddrinfo = lambda *_, **__: [(2, 1, 6, '', ('127.0.1.1', 29500))]",
        "print(near_store._opened('node0', 29500))",
        "def fails(*_): raise OSError",
        "near_store.socket.getnameinfo = fails",
        "print(near_store._opened('127.0.0.1', 0))",
    )
    said = done.stdout.splitlines()
    assert said[1::2] == ["None"] * 3, done.stderr
    for words, line in zip(("no address of this machine", "127.0.1.1", "no name"), said[::2], strict=True):
        assert words in line
