"""Whether the disk has room for the checkpoints of a training, known before it starts.

Counts with what a checkpoint of the same kind took before, else with an estimate that is rather too high.
"""

from pathlib import Path
from typing import Any

from core.ground.figures import size
from core.ground.problem import Problem
from core.ground.text import Text
from core.jobs.evidence import free_bytes
from core.models.model import Model

# Logs, metrics, telemetry, and what writing a file takes beside it.
BESIDE_BYTES = 32 * 2**20


def check_space(disk: Path, model: Model, values: dict[str, Any], *, measured: int | None = None) -> list[Problem]:
    """What is wrong with the room on `disk` for training `model` with the settings `values`.

    `measured`: bytes that a checkpoint of the same kind took. An error where it is sure that the disk will be
    full, a warning where that is only likely.
    """
    free = free_bytes(disk)
    if free is None:
        return []
    limit = values.get("save_total_limit")
    # At -1 all are kept, nobody knows how many: two at least.
    kept = limit if isinstance(limit, int) and limit > 0 else 2
    each = measured or checkpoint_bytes(model, values.get("r"))
    needed = each * kept + BESIDE_BYTES
    if free >= needed:
        return []
    # An estimate may be twice the truth, and one checkpoint is what a training cannot do without.
    sure = free < (needed if measured else each // 2 + BESIDE_BYTES)
    figures_zh = f"每个检查点约 {size(each)}，保留 {kept} 个，共需 {size(needed)}，磁盘只剩 {size(free)}"
    figures_en = f"a checkpoint takes about {size(each)}, {kept} are kept: {size(needed)} in all, {size(free)} are free"
    return [
        Problem(
            severity="error" if sure else "warning",
            where="save_total_limit",
            message=Text(f"磁盘空间不够存检查点：{figures_zh}", f"too little disk for the checkpoints: {figures_en}"),
            hint=Text(
                "清理磁盘、减小 save_total_limit，或换一个工作目录",
                "clean up, lower save_total_limit, or take a workspace on another disk",
            ),
        )
    ]


def checkpoint_bytes(model: Model, lora_r: Any) -> int:
    """An estimate of one checkpoint: what is trained, in single precision, with Adam's two averages."""
    return 12 * trained_parameters(model, lora_r)


def trained_parameters(model: Model, lora_r: Any) -> int:
    """An estimate of how many numbers are trained, rather too high.

    LoRA on all linear layers of a transformer trains about 20·r for each unit of width and layer (attention 5,
    feed-forward 15 with an inner width of four times the outer); full training, all of them.
    """
    return 24 * lora_r * model.hidden_size * model.layers if isinstance(lora_r, int) else model.parameters
