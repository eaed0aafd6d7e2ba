"""What each process of a run holds, by DeepSpeed setting, and the fastest that fits. Measures nothing.

ZeRO (Rajbhandari et al. 2020, §3) partitions over the processes: stage 1 the optimizer states, 2 also the gradients, 3
also the weights; offload moves them to the host's memory. The sizes come from `config.memory`; activations come on top
and are not partitioned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.config.config import Config
from core.config.fit import LONG, ROOM
from core.config.memory import Setup, at_peak, held
from core.engine.config_file import ConfigFile
from core.engine.presets import deepspeed_settings, zero_settings
from core.models.model import Model
from core.models.shape import Shape, shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a process holds with the setting `name` (None: plain data parallel), in bytes on its GPU and on the host."""

    name: str | None
    stage: int
    offload_optimizer: bool
    offload_weights: bool
    gpu_bytes: int
    host_bytes: int


def shares(config: Config, model: Model, processes: int) -> list[Share]:
    """Return the share of one of `processes` processes, without DeepSpeed and with each of XTuner's settings.

    Empty if the model's shape is unknown.
    """
    form, file = shape(model.path), ConfigFile(config.text())
    if form is None:
        return []
    return [_share(form, file, name, processes) for name in (None, *deepspeed_settings())]


# From the fastest: each further one holds less and sends or moves more. The first three as measured in
# benchmarks/results/gpu.json (on two GPUs, ZeRO-3 on one); offloading was not.
FASTEST_FIRST = (None, "deepspeed_zero2", "deepspeed_zero3", "deepspeed_zero2_offload", "deepspeed_zero3_offload")


def fastest(
    config: Config, model: Model, cards: Sequence[Mapping[str, Any]], *, keep: bool = False
) -> tuple[int, str | None]:
    """Return how many processes to train with on these GPUs (`ground.gpu.gpus`), and with which DeepSpeed setting.

    All GPUs, if there are several, and the fastest setting that fits on the smallest; a single GPU needs none. If
    nothing is known of the model or the GPUs, plain data parallel; if nothing fits, what holds least. `keep`: the base
    model's answers are kept, which takes more memory.
    """
    form, file, values = shape(model.path), ConfigFile(config.text()), config.values()
    batch, longest = values.get("batch_size"), values.get("max_length")
    room = min((card["total_mb"] or 0 for card in cards), default=0) * ROOM
    if len(cards) < 2 or form is None or not room or not isinstance(batch, int) or not isinstance(longest, int):
        return max(1, len(cards)), None
    if values.get("pack_to_max_length") is False:
        # Rows that are not packed are rarely as long as the limit.
        longest = min(longest, LONG)
    for name in FASTEST_FIRST:
        setup = Setup.written(file, deepspeed=name, processes=len(cards))
        if name in (None, *deepspeed_settings()) and at_peak(form, setup, batch, longest, kept=keep).total_mb <= room:
            return len(cards), name
    return len(cards), FASTEST_FIRST[-1]


def _share(form: Shape, file: ConfigFile, name: str | None, processes: int) -> Share:
    stage, offload_optimizer, offload_weights = zero_settings(name) if name else (0, False, False)
    on_gpu, of_host = held(form, Setup.written(file, deepspeed=name, processes=processes))
    return Share(
        name=name,
        stage=stage,
        offload_optimizer=offload_optimizer,
        offload_weights=offload_weights,
        gpu_bytes=round(on_gpu),
        host_bytes=round(of_host),
    )
