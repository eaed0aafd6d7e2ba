"""A change of a config with its reason, and applying such changes with the imports they need."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.engine.config_file import MISSING, ConfigFile, Source
from core.engine.presets import map_functions
from core.ground.text import Text

# The modules that XTuner's presets import these names from.
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
    """One change of a preset and its reason. `value` MISSING removes the setting."""

    path: str
    value: Any
    why: Text


def apply(config: ConfigFile, changes: Iterable[Edit]) -> None:
    """Apply `changes` to `config`. Raises BadInput if there is no place for one."""
    for edit in changes:
        put(config, edit.path, edit.value)


def put(config: ConfigFile, path: str, value: Any) -> None:
    """Set `path` to `value`, or remove it if that is MISSING; import the names in the value."""
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
