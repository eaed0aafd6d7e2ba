"""What has to hold before several processes or machines train together, and what they need to find each other."""

import os
import shutil
import socket
from dataclasses import replace

import psutil

from core.engine.commands import DEFAULT_PORT, LOOPBACK, Cluster
from core.engine.presets import check_deepspeed
from core.ground.errors import BadInput
from core.ground.gpu import gpus

# What each library reads the name of a network interface from.
_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")


def check_cluster(cluster: Cluster, deepspeed: str | None) -> None:
    """Raise BadInput for DeepSpeed settings that XTuner does not have, and for processes that could not train here."""
    check_deepspeed(deepspeed)
    if cluster.launcher == "slurm":
        if shutil.which("srun") is None:
            raise BadInput(
                "这台机器上没有 srun：在 Slurm 的登录节点上启动，或用 --launcher pytorch",
                "there is no srun on this machine: start on a Slurm login node, or use --launcher pytorch",
            )
        # The cards are on the nodes that Slurm chooses, not here.
        return
    cards = len(gpus())
    if cards and cluster.nproc > cards:
        raise BadInput(
            f"{cluster.nproc} 个进程多于这台机器的 {cards} 张显卡：每张显卡一个进程",
            f"{cluster.nproc} processes exceed the {cards} GPUs of this machine: use one per GPU",
        )


def with_port(cluster: Cluster, *, alone: bool) -> Cluster:
    """The cluster with a port to meet at. Raises BadInput where the chosen one is taken and nobody of ours
    (`alone`) will have freed it when the training begins."""
    if not cluster.distributed or cluster.node_rank > 0 or cluster.launcher == "slurm":
        return cluster
    if cluster.port is None:
        port = DEFAULT_PORT if cluster.nnodes > 1 or _free(DEFAULT_PORT) else _any_port()
        return replace(cluster, port=port)
    if alone and not _free(cluster.port):
        raise BadInput(
            f"端口 {cluster.port} 已被占用：换一个 --port",
            f"the port {cluster.port} is taken: choose another --port",
        )
    return cluster


def own_address() -> str:
    """The address under which others most likely reach this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # An address of documentation: nothing is sent, the kernel only looks up the route.
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def cluster_environment(cluster: Cluster) -> dict[str, str]:
    """The network interface over which the processes reach each other, where the user has not named one: the loopback on
    one machine, else the one that leads to rank 0.

    Gloo and NCCL otherwise listen on the one that the machine's own name leads to, where others may reach them, or
    which is the loopback where other machines should.
    """
    name = _interface_to(cluster.addr if cluster.nnodes > 1 else LOOPBACK)
    return {variable: name for variable in _INTERFACES if name and variable not in os.environ}


def _interface_to(address: str) -> str | None:
    """The interface over which `address` is reached; that which has it, where it is our own."""
    try:
        family, _, _, _, target = socket.getaddrinfo(address, DEFAULT_PORT, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Sends nothing: the kernel only looks up the route.
            probe.connect(target)
            own = probe.getsockname()[0]
    except OSError:
        return None
    for name, addresses in psutil.net_if_addrs().items():
        if any(found.address.partition("%")[0] == own for found in addresses):
            return name
    return None


def _free(port: int) -> bool:
    """Whether a store for rendezvous could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
