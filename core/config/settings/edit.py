"""One change of a config and why it is made, and carrying such changes out, with the imports that they need."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.engine.config_file import MISSING, ConfigFile, Source
from core.engine.presets import map_functions
from core.ground.text import Text

# Where XTuner's presets import what our edits write from.
IMPORTS = {
    "LoraConfig": "peft",
    "BitsAndBytesConfig": "transformers",
    "OptimWrapper": "mmengine.optim",
    "AmpOptimWrapper": "mmengine.optim",
    "load_dataset": "datasets",
    "template_map_fn_factory": "xtuner.dataset.map_fns",
    "PROMPT_TEMPLATE": "xtuner.utils",
    "SYSTEM_TEMPLATE": "xtuner.utils",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change of a preset and why it is made. `value` MISSING takes the setting out."""

    path: str
    value: Any
    why: Text


def apply(config: ConfigFile, changes: Iterable[Edit]) -> None:
    """Carry out `changes` on `config`. Raises BadInput where one has no place there."""
    for edit in changes:
        put(config, edit.path, edit.value)


def put(config: ConfigFile, path: str, value: Any) -> None:
    """Set `path` to `value`, or take it out where that is MISSING; import what the value names."""
    if value is MISSING:
        config.delete(path)
        return
    config.set(path, value)
    if not isinstance(value, Source):
        return
    for word in dict.fromkeys(re.findall(r"(?<![\w.])[A-Za-z_]\w*", value.code)):
        if word == "torch" and not re.search(r"^import torch$", config.text, re.M):
            config.add_import("torch")
        elif word in IMPORTS and not _imported(config.text, word):
            config.add_import(IMPORTS[word], word)
        elif word in map_functions() and not _imported(config.text, word):
            config.add_import("xtuner.dataset.map_fns", word)


def _imported(text: str, name: str) -> bool:
    return bool(re.search(rf"^from [\w.]+ import (?:[^\n(]*\b{name}\b|\([^)]*\b{name}\b)", text, re.M))
