"""Where srun's processes meet, with a stand-in for scontrol; `tests/e2e/test_slurm.py` has the real one."""

import os

import pytest

from core.engine.workers import slurm_meeting

OURS = ("MASTER_ADDR", "MASTER_PORT", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
SCONTROL = """#!/bin/sh
case "$2" in
hostnames) echo {name}; echo other ;;
*) echo "NodeName={name} Arch=x86_64 NodeAddr={address} NodeHostName={name} Version=22.05" ;;
esac
"""


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """Two nodes; call it with the first one's name and address."""
    for name in OURS:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in {
        "JOB_ID": "12",
        "STEP_ID": "3",
        "NNODES": "2",
        "STEP_NUM_NODES": "2",
        "NODELIST": "n[1-2]",
    }.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.delenv("SLURM_STEP_NODELIST", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def choose(name: str, address: str) -> None:
        (tmp_path / "scontrol").write_text(SCONTROL.format(name=name, address=address))
        (tmp_path / "scontrol").chmod(0o755)

    return choose


def test_a_name_that_resolves(nodes):
    nodes("localhost", "localhost")
    slurm_meeting.agree()
    assert os.environ["MASTER_ADDR"] == "localhost"
    assert os.environ["MASTER_PORT"] == "20015"
    # The first node's own name for itself: the others do not come over that interface.
    assert "GLOO_SOCKET_IFNAME" not in os.environ


def test_an_address_that_others_reach_before_a_name_that_means_this_host(nodes):
    nodes("localhost", "192.0.2.1")
    slurm_meeting.agree()
    assert os.environ["MASTER_ADDR"] == "192.0.2.1"


def test_a_name_that_only_slurm_knows(nodes):
    nodes("n1.invalid", "127.0.0.1")
    slurm_meeting.agree()
    assert os.environ["MASTER_ADDR"] == "127.0.0.1"
    # All nodes are this machine.
    assert os.environ["GLOO_SOCKET_IFNAME"] == os.environ["NCCL_SOCKET_IFNAME"] == "lo"


def test_a_node_that_nobody_can_find_ends_the_run(nodes):
    nodes("n1.invalid", "n1.invalid")
    with pytest.raises(SystemExit, match=r"n1\.invalid resolve"):
        slurm_meeting.agree()


def test_what_the_user_set_stays(nodes, monkeypatch):
    nodes("n1.invalid", "n1.invalid")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29501")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")
    slurm_meeting.agree()
    assert [os.environ[name] for name in OURS[:4]] == ["127.0.0.1", "29501", "lo", "ib0"]


def test_one_node_meets_on_the_loopback(nodes, monkeypatch):
    nodes("n1.invalid", "n1.invalid")
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "1")
    slurm_meeting.agree()
    assert os.environ["MASTER_ADDR"] == "127.0.0.1"
