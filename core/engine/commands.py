"""Argument lists and environments for engine processes, and the equivalent commands from the course.

`xtuner train` and `xtuner convert` exit 0 when the work failed, and start whichever `python` comes first on PATH. So
the modules behind them are started directly, with the engine's own interpreter. Starts nothing itself.
"""

import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.engine import interpreter
from core.ground.agreed_code import VARIABLE
from core.ground.errors import BadInput
from core.ground.workspace import PROJECT, Workspace

ENTRY = "core.engine.workers.entry"
LAUNCHER = "core.engine.workers.launcher"
_ADDRESS = re.compile(r"[\w.:%-]{1,253}")
_PARTITION = re.compile(r"[\w.,-]{1,200}")
Launcher = Literal["pytorch", "slurm"]
LAUNCHERS: tuple[Launcher, ...] = ("pytorch", "slurm")
DEFAULT_PORT = 29500
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The processes of a training run: how many machines, processes on each, where they meet, and the launcher.

    `launcher` "pytorch" is torchrun, started on each machine; "slurm" is srun, which starts all processes, in
    `partition` if given. `port` None: any free port on a single machine, 29500 on several.
    """

    nproc: int = 1
    nnodes: int = 1
    node_rank: int = 0
    addr: str = LOOPBACK
    port: int | None = None
    launcher: Launcher = "pytorch"
    partition: str | None = None

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

    @property
    def distributed(self) -> bool:
        return self.nproc * self.nnodes > 1 or self.launcher == "slurm"

    @property
    def ranks(self) -> tuple[int, ...] | None:
        """The ranks whose files are on this machine; None for all: one machine, or Slurm on a shared disk."""
        if self.nnodes == 1 or self.launcher == "slurm":
            return None
        return tuple(range(self.node_rank * self.nproc, (self.node_rank + 1) * self.nproc))


def engine_environment(workspace: Workspace) -> dict[str, str]:
    """Return the environment variables of every engine process, each with its reason."""
    python = interpreter.python(workspace)
    return {
        # Its tools (torchrun, ninja) are found as if the environment had been activated.
        "PATH": os.pathsep.join([os.path.dirname(python), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        # The workspace whose approved model code may run.
        VARIABLE: str(workspace.root),
        # Models and data are local: never wait for an unreachable hub.
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        # Older releases run a dataset directory's script without asking.
        "HF_DATASETS_TRUST_REMOTE_CODE": "0",
        "HF_HOME": str(workspace.cache / "huggingface"),
        # mmengine's checkpoints hold more than tensors; torch >= 2.6 refuses them otherwise.
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        # Set as in the course: MKL and GNU OpenMP clash otherwise.
        "MKL_SERVICE_FORCE_INTEL": "1",
        "MKL_THREADING_LAYER": "GNU",
        "TOKENIZERS_PARALLELISM": "false",
    }


def module_command(module: str, *arguments: str | Path) -> list[str]:
    """Return `python -m module arguments` with the app's own interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def engine_command(workspace: Workspace, module: str, *arguments: str | Path) -> list[str]:
    """Return `python -m module arguments` with the workspace's engine. Raises BadInput if its interpreter is gone."""
    return [interpreter.python(workspace), "-m", module, *map(str, arguments)]


def train_command(
    workspace: Workspace,
    config: Path,
    work_dir: Path,
    *,
    cluster: Cluster,
    deepspeed: str | None = None,
    resume: Path | None = None,
    gpu: bool = True,
) -> list[str]:
    """Return the training command for the workspace's engine: one process, or several through torchrun or srun.

    With `gpu`, Slurm is asked for one GPU per process.
    """
    options = ["--work-dir", str(work_dir)]
    options += ["--deepspeed", deepspeed] if deepspeed else []
    options += ["--resume", str(resume)] if resume else []
    if not cluster.distributed and deepspeed is None:
        return engine_command(workspace, ENTRY, config, *options)
    if not cluster.distributed:
        # Without torchrun's variables, DeepSpeed looks for MPI, which may not be installed.
        near = ("--standalone", f"--local_addr={LOOPBACK}", "--nproc_per_node=1")
        alone = engine_command(workspace, LAUNCHER, *near, "-m", ENTRY)
        return [*alone, str(config), *options, "--launcher", "pytorch"]
    if cluster.launcher == "slurm":
        return [*_srun(cluster, gpu), *engine_command(workspace, ENTRY, config, *options), "--launcher", "slurm"]
    return [
        *engine_command(workspace, LAUNCHER),
        f"--nproc_per_node={cluster.nproc}",
        f"--nnodes={cluster.nnodes}",
        f"--node_rank={cluster.node_rank}",
        f"--master_addr={cluster.addr if cluster.nnodes > 1 else LOOPBACK}",
        f"--master_port={cluster.port or DEFAULT_PORT}",
        "-m",
        ENTRY,
        str(config),
        *options,
        "--launcher",
        "pytorch",
    ]


def as_typed(
    config: Path, work_dir: Path, *, cluster: Cluster, deepspeed: str | None, resume: Path | None, gpu: bool = True
) -> str:
    """Return the equivalent `xtuner train` command of the course, to show and copy."""
    words = ["xtuner", "train", str(config), "--work-dir", str(work_dir)]
    words += ["--deepspeed", deepspeed] if deepspeed else []
    words += ["--resume", str(resume)] if resume else []
    if cluster.launcher == "slurm":
        return _line([*_srun(cluster, gpu), *words, "--launcher", "slurm"])
    settings = []
    if cluster.distributed:
        settings = [f"NPROC_PER_NODE={cluster.nproc}"]
        if cluster.nnodes > 1:
            settings += [
                f"NNODES={cluster.nnodes}",
                f"NODE_RANK={cluster.node_rank}",
                f"ADDR={shlex.quote(cluster.addr)}",
                f"PORT={cluster.port or DEFAULT_PORT}",
            ]
    return " ".join([*settings, _line(words)])


def start_as_typed(config_name: str, cluster: Cluster, deepspeed: str | None) -> list[str]:
    """Return the headless command to run on each machine, by rank."""
    lines = []
    for rank in range(cluster.nnodes):
        words = ["python", "-m", "core", "train", "start", config_name, "--nproc", str(cluster.nproc)]
        words += ["--nnodes", str(cluster.nnodes), "--node-rank", str(rank)]
        words += ["--addr", cluster.addr, "--port", str(cluster.port or DEFAULT_PORT)]
        words += ["--deepspeed", deepspeed] if deepspeed else []
        lines.append(_line(words))
    return lines


def _srun(cluster: Cluster, gpu: bool) -> list[str]:
    """Return the srun prefix: one task per process on every node; if one dies, the others are killed too."""
    words = ["srun"]
    words += [f"--partition={cluster.partition}"] if cluster.partition else []
    words += ["--job-name=xtuner", f"--nodes={cluster.nnodes}", f"--ntasks-per-node={cluster.nproc}"]
    words += [f"--gres=gpu:{cluster.nproc}"] if gpu else []
    return [*words, "--kill-on-bad-exit=1"]


def convert_as_typed(config: Path, checkpoint: Path, adapter: Path) -> str:
    """Return the `xtuner convert pth_to_hf` command of the course."""
    return _line(["xtuner", "convert", "pth_to_hf", str(config), str(checkpoint), str(adapter), "--fp32"])


def merge_as_typed(model: Path, adapter: Path, merged: Path) -> str:
    """Return the `xtuner convert merge` command of the course."""
    return _line(
        [
            "xtuner",
            "convert",
            "merge",
            str(model),
            str(adapter),
            str(merged),
            "--max-shard-size",
            "2GB",
            "--safe-serialization",
        ]
    )


def _line(words: Sequence[str]) -> str:
    return shlex.join(words)
