"""The option to keep the base model's own answers: for which runs it is possible, and for which it is the default.

The loss itself is in `core.engine.workers.keeping`, in the training process.
"""

from collections.abc import Mapping
from typing import Any

from core.data.dataset import Dataset
from core.ground.errors import BadInput
from core.models.model import Model


def check(name: str, settings: Mapping[str, Any]) -> None:
    """Raise BadInput if the config `name` trains no adapter: then there is no base model to compare with."""
    if not has_adapter(settings):
        raise BadInput(
            f"配置 {name} 是全量微调，没有基座模型可以对照：去掉 --keep，或改用 LoRA、QLoRA",
            f"the config {name} trains all weights, so no base model is left to compare with: leave out --keep, "
            "or use LoRA or QLoRA",
        )


def usual(settings: Mapping[str, Any], dataset: Dataset, model: Model) -> bool:
    """Return whether it is the default for a config with these settings."""
    return has_adapter(settings) and suits(dataset, model)


def suits(dataset: Dataset, model: Model) -> bool:
    """Return whether the data contain this model's own answers; a toy has nothing to keep."""
    return dataset.made.get("replay_model") == model.name and not model.toy


def has_adapter(settings: Mapping[str, Any]) -> bool:
    """Return whether LoRA or QLoRA is trained, by the settings of `Config.values`."""
    return isinstance(settings["r"], int)
