"""What each process of a training holds, by DeepSpeed setting: the figures behind the choice. Measures nothing.

ZeRO (Rajbhandari et al. 2020, §3) splits over the processes: stage 1 the optimizer's states, 2 the gradients too,
3 the weights too; offload puts them into the host's memory. Activations, which come on top, are not split.
"""

from dataclasses import dataclass

from core.config.config import Config
from core.engine.config_file import MISSING, ConfigFile, Source
from core.engine.presets import deepspeed_settings, zero_divisors, zero_settings
from core.forecast.space import trained_parameters
from core.models.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a process keeps with the setting `name` (None: plain data parallel): bytes on its GPU, and of the host."""

    name: str | None
    stage: int
    offload_optimizer: bool
    offload_weights: bool
    gpu_bytes: int
    host_bytes: int


def shares(config: Config, model: Model, processes: int) -> list[Share]:
    """The share of one process of `processes`, without DeepSpeed and with each of XTuner's settings."""
    file = ConfigFile(config.text())
    dtype = file.get("model.llm.torch_dtype")
    wide = isinstance(dtype, Source) and dtype.code.endswith("float32")
    quantised = file.get("model.llm.quantization_config") not in (MISSING, None)
    r = file.get("model.lora.r")
    trained = trained_parameters(model, r)
    frozen = model.parameters if isinstance(r, int) else 0
    # NF4 with double quantisation takes 4.127 bits a weight; embedding and head stay in half precision.
    weights = int(frozen * (0.6 if quantised else 4 if wide else 2)) + trained * (4 if wide else 2)
    gradients = trained * (4 if wide else 2)
    # Adam's two averages, and the single-precision copy that half-precision weights are updated in.
    optimizer = trained * (8 if wide else 12)
    found = [_share(None, (0, False, False), weights, gradients, optimizer, processes)]
    for name in deepspeed_settings():
        found.append(_share(name, zero_settings(name), weights, gradients, optimizer, processes))
    return found


def _share(
    name: str | None, zero: tuple[int, bool, bool], weights: int, gradients: int, optimizer: int, processes: int
) -> Share:
    stage, offload_optimizer, offload_weights = zero
    parts = zip((optimizer, gradients, weights), zero_divisors(stage, processes), strict=True)
    optimizer, gradients, weights = (size // divisor for size, divisor in parts)
    host = (optimizer if offload_optimizer else 0) + (weights if offload_weights else 0)
    return Share(
        name=name,
        stage=stage,
        offload_optimizer=offload_optimizer,
        offload_weights=offload_weights,
        gpu_bytes=weights + gradients + optimizer - host,
        host_bytes=host,
    )
