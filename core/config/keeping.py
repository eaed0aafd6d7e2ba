"""The option to keep the base model's own answers: for which runs it is possible, and for which it is the default.

The loss itself is in `core.engine.workers.keeping`, in the training process, and where the adapter looks in
`core.engine.workers.adapter_inputs`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from core.config.settings.edit import Edit
from core.data.dataset import Dataset
from core.ground.errors import BadInput
from core.ground.text import Text
from core.models.model import Model
from core.models.shape import readers


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


def edits(model: Model) -> Iterator[Edit]:
    """Yield the edit of a recipe for such runs: an adapter on the feed-forward layers that read the hidden state.

    What the others cost is in docs/recipes.md.
    """
    if names := readers(model.path):
        why = Text("从隐状态里认出该学的问题", "recognizes in the hidden state what is to be learned")
        yield Edit(path="model.lora.target_modules", value=list(names), why=why)
