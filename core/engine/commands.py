"""Argument lists and environments for engine processes, and the equivalent commands from the course.

`xtuner train` and `xtuner convert` exit 0 when the work failed, and start whichever `python` comes first on PATH. So
the modules behind them are started directly, with the engine's own interpreter. Starts nothing itself.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from core.engine import interpreter
from core.engine.cluster import DEFAULT_PORT, LOOPBACK, Cluster
from core.engine.slurm_options import sbatch_options, srun
from core.ground.agreed_code import VARIABLE
from core.ground.workspace import PROJECT, Workspace

ENTRY = "core.engine.workers.entry"
LAUNCHER = "core.engine.workers.launcher"


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
        # GNU OpenMP's threads wait for each other by spinning. Three processes on two cores: 3.3 times as long for a
        # token, 4 times for a step of training, as with threads that sleep; alone no difference (SmolLM2-135M).
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
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
        words = engine_command(workspace, ENTRY, config, *options)
        return [*srun(cluster, gpu), *words, "--launcher", "slurm"]
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
        line = _line([*srun(cluster, gpu), *words, "--launcher", "slurm"])
        return _line(["sbatch", *sbatch_options(cluster, "xtuner", gpu), f"--wrap={line}"]) if cluster.batch else line
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
