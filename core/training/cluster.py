"""The requirements for training with several processes or machines, and the settings they need to find each other."""

import os
import shutil
import socket
from dataclasses import replace

import psutil

from core.engine.cluster import DEFAULT_PORT, LOOPBACK, Cluster
from core.engine.presets import check_deepspeed
from core.engine.slurm_options import sbatch_options
from core.ground.errors import BadInput
from core.ground.gpu import gpus
from core.jobs import slurm

# The variables that the libraries read a network interface's name from.
_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")


def check_cluster(cluster: Cluster, deepspeed: str | None, *, gpu: bool = False) -> None:
    """Raise BadInput for DeepSpeed settings that XTuner does not have, and for processes that cannot train here.

    Slurm is asked, and refuses in its own words. `gpu`: whether each process needs one.
    """
    check_deepspeed(deepspeed)
    if cluster.launcher == "slurm":
        command = "sbatch" if cluster.batch else "srun"
        if shutil.which(command) is None:
            raise BadInput(
                f"这台机器上没有 {command}：在 Slurm 的登录节点上启动，或用 --launcher pytorch",
                f"there is no {command} on this machine: start on a Slurm login node, or use --launcher pytorch",
            )
        if shutil.which("sbatch"):
            slurm.check(sbatch_options(cluster, "xtuner", gpu), srun=not cluster.batch)
        # The GPUs are on the nodes that Slurm chooses, not here.
        return
    cards = len(gpus())
    if cards and cluster.nproc > cards:
        raise BadInput(
            f"{cluster.nproc} 个进程多于这台机器的 {cards} 张显卡：每张显卡一个进程",
            f"{cluster.nproc} processes exceed the {cards} GPUs of this machine: use one per GPU",
        )


def with_port(cluster: Cluster, *, alone: bool) -> Cluster:
    """Return the cluster with a rendezvous port.

    Raises BadInput if the chosen port is taken, unless one of our own runs (`alone` is False) may free it before
    training begins.
    """
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
    """Return the address by which others most likely reach this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # An address reserved for documentation: nothing is sent, the kernel only looks up the route.
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def cluster_environment(cluster: Cluster) -> dict[str, str]:
    """Return the network interface for the processes to use, unless the user has set one.

    The loopback on one machine, else the interface that leads to rank 0. By default Gloo and NCCL listen on the
    interface of the machine's own host name, where others may reach them, or which is the loopback when other machines
    need to connect. Under Slurm each node finds its own (`slurm_meeting`).
    """
    if cluster.launcher == "slurm":
        return {}
    name = _interface_to(cluster.addr if cluster.nnodes > 1 else LOOPBACK)
    return {variable: name for variable in _INTERFACES if name and variable not in os.environ}


def _interface_to(address: str) -> str | None:
    """Return the interface over which `address` is reached; if the address is our own, the one that has it."""
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
    """Return whether a rendezvous store could listen on the port."""
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
