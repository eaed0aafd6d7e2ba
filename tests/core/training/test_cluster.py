"""Combinations of processes and machines that cannot train together are refused; the others can find each other."""

import os
import socket

import pytest

from core.engine.cluster import Cluster
from core.ground.errors import BadInput
from core.training import cluster as clusters
from core.training import run as runs
from core.training.cluster import check_cluster, cluster_environment, with_port


def test_settings_of_deepspeed_that_are_not_there(workspace, config):
    with pytest.raises(BadInput, match="deepspeed_zero9"):
        runs.start(workspace, config.name, deepspeed="deepspeed_zero9")
    assert runs.every(workspace) == []


def test_every_process_has_a_card(workspace, config, monkeypatch):
    monkeypatch.setattr(clusters, "gpus", lambda: [{"index": 0}])
    with pytest.raises(BadInput, match="2"):
        runs.start(workspace, config.name, cluster=Cluster(nproc=2), deepspeed="deepspeed_zero2")
    check_cluster(Cluster(nproc=1, nnodes=2), None)


def test_slurm_needs_its_command(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="srun"):
        check_cluster(Cluster(launcher="slurm"), None)
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setattr(clusters, "gpus", lambda: [{"index": 0}])
    # The GPUs are on other machines.
    check_cluster(Cluster(launcher="slurm", nproc=8, nnodes=2), "deepspeed_zero3")


def test_port_to_meet_at():
    assert with_port(Cluster(), alone=True).port is None
    assert with_port(Cluster(nnodes=2, node_rank=1), alone=True).port is None
    assert with_port(Cluster(nproc=2, nnodes=2), alone=True).port == 29500
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=str(port)):
            with_port(Cluster(nproc=2, port=port), alone=True)
        # A port used by another run may be free when its turn comes.
        assert with_port(Cluster(nproc=2, port=port), alone=False).port == port
        assert with_port(Cluster(nnodes=2, node_rank=1, port=port), alone=True).port == port
    with socket.socket() as default:
        default.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            default.bind(("", 29500))
            default.listen()
        except OSError:
            pass
        assert with_port(Cluster(nproc=2), alone=True).port not in (None, 29500)


@pytest.mark.parametrize(
    "wrong",
    [
        {"nproc": 0},
        {"nnodes": 0},
        {"node_rank": 1},
        {"nnodes": 2, "node_rank": 2},
        {"node_rank": -1},
        {"port": 0},
        {"port": 70_000},
        {"addr": ""},
        {"addr": "a b"},
        {"addr": "x; rm -rf ~"},
        {"addr": "-x\n"},
        {"launcher": "ssh"},
        {"launcher": "slurm", "partition": "a b"},
    ],
)
def test_what_cannot_be(wrong):
    with pytest.raises(BadInput):
        Cluster(**wrong)


def test_ranks_of_a_machine():
    assert Cluster(nproc=2).ranks is None
    assert Cluster(nproc=2, nnodes=3, node_rank=2).ranks == (4, 5)
    assert Cluster(nproc=2, nnodes=2, launcher="slurm").ranks is None


def test_interface_to_the_other_machines(monkeypatch):
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)
    assert cluster_environment(Cluster(nproc=2))["GLOO_SOCKET_IFNAME"] == "lo"
    found = cluster_environment(Cluster(nnodes=2, addr="127.0.0.1"))
    assert found["GLOO_SOCKET_IFNAME"] == found["NCCL_SOCKET_IFNAME"] == "lo"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "mine")
    assert "GLOO_SOCKET_IFNAME" not in cluster_environment(Cluster(nnodes=2, addr="127.0.0.1"))
    assert cluster_environment(Cluster(nnodes=2, addr="no.such.host.invalid")) == {}
    # Settings for other machines do not apply to a single one.
    assert cluster_environment(Cluster(nproc=2, addr="no.such.host.invalid"))["TP_SOCKET_IFNAME"] == "lo"
    assert os.environ["GLOO_SOCKET_IFNAME"] == "mine"
