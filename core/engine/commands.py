"""The argument lists and environments with which the engine is started, and what the learner would have typed.

`xtuner train` and `xtuner convert` exit 0 when the work failed and start whatever `python` comes first on
PATH, so the modules behind them are started, with the engine's own interpreter. Starts nothing itself.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.engine import interpreter
from core.ground.errors import BadInput
from core.ground.workspace import PROJECT, Workspace

ENTRY = "core.engine.entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The processes of a training: on how many machines, how many on each, and where they meet."""

    nproc: int = 1
    nnodes: int = 1
    node_rank: int = 0
    addr: str = "127.0.0.1"
    port: int = 29500

    def __post_init__(self) -> None:
        """Raise BadInput for numbers of processes and machines that there cannot be."""
        if self.nproc < 1 or self.nnodes < 1 or not 0 <= self.node_rank < self.nnodes:
            raise BadInput(
                f"进程和机器的数量不可用：nproc={self.nproc}、nnodes={self.nnodes}、node_rank={self.node_rank}",
                f"these processes cannot be: nproc={self.nproc}, nnodes={self.nnodes}, node_rank={self.node_rank}; take "
                "1 or more, and a rank below nnodes",
            )

    @property
    def distributed(self) -> bool:
        return self.nproc * self.nnodes > 1


def engine_environment(workspace: Workspace) -> dict[str, str]:
    """What every engine process needs in its environment, each for a reason."""
    python = interpreter.python(workspace)
    return {
        # The tools of its environment (torchrun, ninja) are found as if it had been activated.
        "PATH": os.pathsep.join([os.path.dirname(python), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        # Models and data are local: a hub that cannot be reached must not be waited for.
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(workspace.cache / "huggingface"),
        # mmengine's checkpoints hold more than tensors; torch >= 2.6 refuses them otherwise.
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        # As the course sets them: MKL and GNU's OpenMP clash otherwise.
        "MKL_SERVICE_FORCE_INTEL": "1",
        "MKL_THREADING_LAYER": "GNU",
        "TOKENIZERS_PARALLELISM": "false",
    }


def module_command(module: str, *arguments: str | Path) -> list[str]:
    """`python -m module arguments`, with the app's own interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def engine_command(workspace: Workspace, module: str, *arguments: str | Path) -> list[str]:
    """`python -m module arguments`, with the interpreter of the workspace's engine. Raises BadInput where it is gone."""
    return [interpreter.python(workspace), "-m", module, *map(str, arguments)]


def train_command(
    workspace: Workspace,
    config: Path,
    work_dir: Path,
    *,
    cluster: Cluster,
    deepspeed: str | None = None,
    resume: Path | None = None,
) -> list[str]:
    """The command that trains with the workspace's engine: in one process, or through torchrun in several."""
    options = ["--work-dir", str(work_dir)]
    options += ["--deepspeed", deepspeed] if deepspeed else []
    options += ["--resume", str(resume)] if resume else []
    if not cluster.distributed:
        return engine_command(workspace, ENTRY, config, *options)
    return [
        *engine_command(workspace, "torch.distributed.run"),
        f"--nproc_per_node={cluster.nproc}",
        f"--nnodes={cluster.nnodes}",
        f"--node_rank={cluster.node_rank}",
        f"--master_addr={cluster.addr}",
        f"--master_port={cluster.port}",
        "-m",
        ENTRY,
        str(config),
        *options,
        "--launcher",
        "pytorch",
    ]


def as_typed(config: Path, work_dir: Path, *, cluster: Cluster, deepspeed: str | None, resume: Path | None) -> str:
    """The `xtuner train` line of the course that does the same, for the learner to see and copy."""
    words = ["xtuner", "train", str(config), "--work-dir", str(work_dir)]
    words += ["--deepspeed", deepspeed] if deepspeed else []
    words += ["--resume", str(resume)] if resume else []
    settings = []
    if cluster.distributed:
        settings = [f"NPROC_PER_NODE={cluster.nproc}"]
        if cluster.nnodes > 1:
            settings += [
                f"NNODES={cluster.nnodes}",
                f"NODE_RANK={cluster.node_rank}",
                f"ADDR={cluster.addr}",
                f"PORT={cluster.port}",
            ]
    return " ".join([*settings, _line(words)])


def convert_as_typed(config: Path, checkpoint: Path, adapter: Path) -> str:
    """The `xtuner convert pth_to_hf` line of the course."""
    return _line(["xtuner", "convert", "pth_to_hf", str(config), str(checkpoint), str(adapter), "--fp32"])


def merge_as_typed(model: Path, adapter: Path, merged: Path) -> str:
    """The `xtuner convert merge` line of the course."""
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
