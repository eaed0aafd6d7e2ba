"""The option to keep what the base model would say: for which trainings it is possible, and for which the default.

The loss itself is for `core.engine.workers.keeping`, in the trainer.
"""

from collections.abc import Mapping
from typing import Any

from core.data.dataset import Dataset
from core.ground.errors import BadInput
from core.models.model import Model


def check(name: str, settings: Mapping[str, Any]) -> None:
    """Raise BadInput for the config `name` where it trains no adapter: no base model is left to compare with."""
    if not has_adapter(settings):
        raise BadInput(
            f"配置 {name} 是全量微调，没有基座模型可以对照：去掉 --keep，或改用 LoRA、QLoRA",
            f"the config {name} trains all weights, so no base model is left to compare with: leave out --keep, "
            "or use LoRA or QLoRA",
        )


def usual(settings: Mapping[str, Any], dataset: Dataset, model: Model) -> bool:
    """Whether it is the default for a config with these settings."""
    return has_adapter(settings) and suits(dataset, model)


def suits(dataset: Dataset, model: Model) -> bool:
    """Whether the data hold this model's own answers, to be kept as they are; a toy knows nothing to keep."""
    return dataset.made.get("replay_model") == model.name and not model.toy


def has_adapter(settings: Mapping[str, Any]) -> bool:
    """Whether LoRA or QLoRA is trained, by the settings of `Config.values`."""
    return isinstance(settings["r"], int)
