"""What each process of a run holds, by DeepSpeed setting: the figures for choosing one. Measures nothing.

ZeRO (Rajbhandari et al. 2020, §3) partitions over the processes: stage 1 the optimizer states, 2 also the gradients, 3
also the weights; offload moves them to the host's memory. The sizes come from `config.memory`; activations come on top
and are not partitioned.
"""

from dataclasses import dataclass

from core.config.config import Config
from core.config.memory import Setup, held
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
