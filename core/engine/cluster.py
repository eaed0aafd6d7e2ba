"""The processes of a training run: how many machines, who starts them, and what Slurm is asked for. Starts nothing."""

import re
import shlex
from dataclasses import dataclass
from typing import Literal

from core.ground.errors import BadInput

_ADDRESS = re.compile(r"[\w.:%-]{1,253}")
_PARTITION = re.compile(r"[\w.,-]{1,200}")
_TIME = re.compile(r"(\d{1,4}-)?\d{1,6}(:\d{1,2}){0,2}")
# Not the ones that decide what is run, and where its output goes.
_OPTION = re.compile(
    r"--(?!(?:wrap|output|error|input|chdir|open-mode|job-name|nodes|ntasks|array|signal|requeue|parsable|test-only)\b)"
    r"[a-z][a-z-]*(=[^\x00-\x1f]{0,200})?"
)
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
        if not all(_OPTION.fullmatch(option) for option in self.slurm_options):
            raise BadInput(
                f"Slurm 选项 {self.options!r} 不可用：每个写成 --名称=值，用空格隔开，例如 --account=lab --mem=64G",
                f"the Slurm options {self.options!r} are invalid: write each as --name=value, separated by spaces, such as --account=lab --mem=64G",
            )

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
