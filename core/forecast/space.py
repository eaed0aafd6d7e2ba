"""Whether the disk has space for a run's checkpoints, checked before it starts.

Uses the size of an earlier checkpoint of the same kind, else an estimate.
"""

from pathlib import Path
from typing import Any

from core.config.config import Config
from core.config.memory import Setup
from core.engine.config_file import ConfigFile
from core.ground.figures import MB, size
from core.ground.problem import Problem
from core.ground.text import Text
from core.jobs.evidence import free_bytes
from core.models.model import Model
from core.models.shape import Shape, shape

# Logs, metrics, telemetry, and the overhead of writing a file.
BESIDE_BYTES = 32 * MB


def estimate(config: Config, model: Model, *, deepspeed: str | None = None, processes: int = 1) -> int:
    """Return the bytes of one checkpoint of a config, from its text alone; `preflight` has the engine build it."""
    file = ConfigFile(config.text())
    targets = file.get("model.lora.target_modules")
    return checkpoint_bytes(
        shape(model.path, tuple(targets) if isinstance(targets, list | tuple) else ()),
        Setup.written(file, deepspeed=deepspeed, processes=processes),
        optimizer=file.get("default_hooks.checkpoint.save_optimizer") is not False,
    )


def check_space(disk: Path, limit: Any, estimated: int, *, measured: int | None = None) -> list[Problem]:
    """Return a problem if `disk` lacks space for the checkpoints, of which `limit` (`save_total_limit`) are kept.

    `estimated` are the bytes of one, `measured` those of an earlier one of the same kind. An error if the disk will
    certainly be full, a warning if that is only likely.
    """
    free = free_bytes(disk)
    if free is None:
        return []
    # With -1 all are kept, an unknown number: at least two.
    kept = limit if isinstance(limit, int) and limit > 0 else 2
    each = measured or estimated
    needed = each * kept + BESIDE_BYTES
    if free >= needed:
        return []
    # An estimate may be off by half, and a run needs at least one checkpoint.
    sure = free < (needed if measured else each // 2 + BESIDE_BYTES)
    figures_zh = f"每个检查点约 {size(each)}，保留 {kept} 个，共需 {size(needed)}，磁盘只剩 {size(free)}"
    figures_en = f"a checkpoint needs about {size(each)}, {kept} are kept: {size(needed)} in total, {size(free)} free"
    return [
        Problem(
            severity="error" if sure else "warning",
            where="save_total_limit",
            message=Text(
                f"磁盘空间不够存检查点：{figures_zh}", f"not enough disk space for the checkpoints: {figures_en}"
            ),
            hint=Text(
                "清理磁盘、减小 save_total_limit，或换一个工作目录",
                "free some space, lower save_total_limit, or use a workspace on another disk",
            ),
        )
    ]


def checkpoint_bytes(shape: Shape | None, setup: Setup, *, optimizer: bool = True) -> int:
    """Return the bytes of one checkpoint: the trained weights and, unless disabled, the optimizer's two averages."""
    if shape is None:
        return 0
    # DeepSpeed trains in half precision, with the optimizer's own copy in single precision. An adapter is in single
    # precision beside any weights.
    each = 4 if setup.rank and not setup.deepspeed else setup.weight_bytes
    averages = 12 if setup.deepspeed else 2 * each
    return int(shape.trained(setup.rank) * (each + (averages if optimizer else 0)))
