"""The settings in a model's config.json that are read here: sizes that are numbers, names that are names.

The file is untrusted, so a value of the wrong kind is ignored and reported. `ground.model_code` finds the code it would
run.
"""

import re
from pathlib import Path
from typing import Any

from core.ground.model_code import read_object

# If one of these is wrong, nothing is known about the model.
SIZES = ("hidden_size", "num_hidden_layers", "vocab_size")
_OTHER_SIZES = ("intermediate_size", "num_attention_heads", "num_key_value_heads", "max_position_embeddings")
_NAMES = ("torch_dtype", "attn_implementation", "model_type")
_MOST = {"num_hidden_layers": 10_000}
_NAME = re.compile(r"[\w.-]{1,100}")


def settings(path: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the settings of the model at `path` (None if config.json is unreadable), and the names of invalid ones."""
    content = read_object(path / "config.json")
    if content is None:
        return None, []
    wrong = [key for key in SIZES if content.get(key) is not None and not _is_size(key, content[key])]
    classes = content.get("architectures")
    if classes is not None and not (isinstance(classes, list) and all(map(_is_name, classes))):
        wrong.append("architectures")
    left_out = [key for key in _OTHER_SIZES if not _is_size(key, content.get(key))]
    left_out += [key for key in _NAMES if not _is_name(content.get(key))]
    left_out += [key for key, value in content.items() if value is None]
    return {key: value for key, value in content.items() if key not in wrong and key not in left_out}, wrong


def _is_size(key: str, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST.get(key, 1 << 31)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None
