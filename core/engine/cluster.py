"""The processes of a training run: how many machines, who starts them, and what Slurm is asked for. Starts nothing."""

import re
import shlex
from dataclasses import dataclass
from typing import Literal

from core.ground.errors import BadInput

_ADDRESS = re.compile(r"[\w.:%-]{1,253}")
_PARTITION = re.compile(r"[\w.,-]{1,200}")
_TIME = re.compile(r"(\d{1,4}-)?\d{1,6}(:\d{1,2}){0,2}")
# Full names alone: Slurm takes any unambiguous beginning of one, and most options decide what runs, how often, or where
# its output goes.
_OPTION = re.compile(r"--([a-z][a-z-]*)(=[^\x00-\x1f]{1,200})?")
OPTIONS = (
    "account", "begin", "comment", "constraint", "cpus-per-gpu", "cpus-per-task", "deadline", "dependency", "exclude",
    "exclusive", "gpus", "gpus-per-node", "gpus-per-task", "gres", "hint", "licenses", "mail-type", "mail-user", "mem",
    "mem-per-cpu", "mem-per-gpu", "nice", "nodelist", "qos", "reservation", "switches", "tmp",
)  # fmt: skip
# The others would take the next word for their value.
_ALONE = ("exclusive", "nice")
# What has its own place.
_ELSEWHERE = {
    "partition": "--partition",
    "time": "--time",
    "nodes": "--nnodes",
    "ntasks": "--nproc",
    "ntasks-per-node": "--nproc",
}
Launcher = Literal["pytorch", "slurm"]
LAUNCHERS: tuple[Launcher, ...] = ("pytorch", "slurm")
DEFAULT_PORT = 29500
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The processes of a training run: how many machines, processes on each, where they meet, and the launcher.

    `launcher` "pytorch" is torchrun, started on each machine; "slurm" is srun, which starts all processes, in
    `partition` if given, for at most `time`, with further `options` of Slurm's. With `batch`, sbatch submits it all, so
    that it needs this machine no more. `port` None: any free port on a single machine, 29500 on several.
    """

    nproc: int = 1
    nnodes: int = 1
    node_rank: int = 0
    addr: str = LOOPBACK
    port: int | None = None
    launcher: Launcher = "pytorch"
    partition: str | None = None
    batch: bool = False
    time: str | None = None
    options: str = ""

    def __post_init__(self) -> None:
        """Raise BadInput for invalid numbers of processes or machines, addresses or ports."""
        if self.nproc < 1 or self.nnodes < 1 or not 0 <= self.node_rank < self.nnodes:
            raise BadInput(
                f"进程和机器的数量不可用：nproc={self.nproc}、nnodes={self.nnodes}、node_rank={self.node_rank}"
                "（至少为 1，node_rank 从 0 开始并小于 nnodes）",
                f"invalid number of processes: nproc={self.nproc}, nnodes={self.nnodes}, node_rank={self.node_rank}; use 1 or more, and a rank from 0 to nnodes - 1",
            )
        if self.port is not None and not 1 <= self.port <= 65_535:
            raise BadInput(
                f"端口 {self.port} 不可用：--port 取 1 到 65535",
                f"the port {self.port} is invalid: --port takes 1 to 65535",
            )
        if not _ADDRESS.fullmatch(self.addr):
            raise BadInput(
                f"地址 {self.addr!r} 不可用：--addr 填 0 号机器的 IP 地址或主机名",
                f"the address {self.addr!r} is invalid: --addr takes the IP address or host name of machine 0",
            )
        if self.launcher not in LAUNCHERS or not _PARTITION.fullmatch(self.partition or "x"):
            raise BadInput(
                f"启动方式 {self.launcher}、分区 {self.partition} 不可用：--launcher 取 {' 或 '.join(LAUNCHERS)}",
                f"the launcher {self.launcher} with partition {self.partition} is invalid: --launcher takes "
                f"{' or '.join(LAUNCHERS)}",
            )
        if self.launcher != "slurm" and (self.batch or self.time or self.options):
            raise BadInput(
                "--batch、--time 和 --slurm-options 只用于 Slurm：加上 --launcher slurm",
                "--batch, --time and --slurm-options are for Slurm: add --launcher slurm",
            )
        if not _TIME.fullmatch(self.time or "1"):
            raise BadInput(
                f"时限 {self.time!r} 不可用：写成 分钟、时:分:秒 或 天-时，例如 90、2:00:00、1-12",
                f"the time limit {self.time!r} is invalid: write minutes, hours:minutes:seconds or days-hours, such as 90, 2:00:00 or 1-12",
            )
        for option in self.slurm_options:
            _check_option(option)

    @property
    def slurm_options(self) -> list[str]:
        """The further options of Slurm's, one by one. What cannot be split is an invalid one."""
        try:
            return shlex.split(self.options)
        except ValueError:
            return [""]

    @property
    def distributed(self) -> bool:
        return self.nproc * self.nnodes > 1 or self.launcher == "slurm"

    @property
    def ranks(self) -> tuple[int, ...] | None:
        """The ranks whose files are on this machine; None for all: one machine, or Slurm on a shared disk."""
        if self.nnodes == 1 or self.launcher == "slurm":
            return None
        return tuple(range(self.node_rank * self.nproc, (self.node_rank + 1) * self.nproc))


def _check_option(option: str) -> None:
    """Raise BadInput unless it is one of OPTIONS, with its value."""
    found = _OPTION.fullmatch(option)
    name = found[1] if found else ""
    if found and name in OPTIONS and (found[2] or name in _ALONE):
        return
    if name in _ELSEWHERE:
        raise BadInput(
            f"Slurm 选项 {option!r} 不写在这里：它有自己的一栏（命令行用 {_ELSEWHERE[name]}）",
            f"the Slurm option {option!r} does not belong here: it has its own field (on the command line, {_ELSEWHERE[name]})",
        )
    raise BadInput(
        f"Slurm 选项 {option!r} 不可用：每个写成 --名称=值，用空格隔开，例如 --account=lab --mem=64G；"
        f"名称要写全，可用的有 {'、'.join(OPTIONS)}",
        f"the Slurm option {option!r} is invalid: write each as --name=value, separated by spaces, such as "
        f"--account=lab --mem=64G; with its full name, one of {', '.join(OPTIONS)}",
    )
