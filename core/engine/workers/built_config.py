"""A config as mmengine builds it, in plain values: what training will read, with all names resolved.

Part of the workers that run in the engine's interpreter. Executes the file, so it must run in a separate process.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAME = "$name"
# What mmengine's Runner reads from a config; other variables may contain anything.
_READ = (
    "model",
    "tokenizer",
    "train_dataloader",
    "val_dataloader",
    "custom_hooks",
    "default_hooks",
    "load_from",
    "resume",
)
# Always a path, even a relative one.
_PATH_KEYS = {"load_from", "resume", "pretrained_pth"}
# Output paths, or texts that may start like a path.
_NO_PATHS = {"work_dir", "out_dir", "evaluation_inputs", "system", "prompt_template", "template"}
_ABSOLUTE = re.compile(r"(/|\./|\.\./|~)|[A-Za-z]:[\\/\n\t\r\a\b\f\v]")


def build(file: Path) -> "dict[str, Any]":
    """Return the values of a config; a class, a function or a dtype is `{"$name": "module.name"}`."""
    from mmengine.config import Config

    built = Config.fromfile(str(file))
    values = built._to_lazy_dict() if hasattr(built, "_to_lazy_dict") else built._cfg_dict
    return plain(values)


def plain(value: Any) -> Any:
    """Convert `value` to JSON types only."""
    if isinstance(value, dict):
        # Bypasses ConfigDict.items(), which would import what the values name.
        return {str(key): plain(part) for key, part in dict.items(value)}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if type(value).__module__ == "mmengine.config.lazy":
        return {NAME: lazy_name(value)}
    if hasattr(value, "__qualname__"):
        return {NAME: f"{value.__module__}.{value.__qualname__}"}
    return {NAME: str(value)}


def lazy_name(value: Any) -> str:
    """Return the name that an mmengine lazy import stands for.

    Reads only its fields: it answers any other attribute too.
    """
    fields = vars(value)
    if "source" in fields:
        return f"{lazy_name(fields['source'])}.{fields['name']}"
    module = fields["_module"]
    module = module if isinstance(module, str) else module[0]
    return f"{module}.{fields['_imported']}" if fields["_imported"] else module


def named(value: Any) -> str:
    """Return the last word of a name, `process_hf_dataset` of `xtuner.dataset.process_hf_dataset`.

    Empty if it is none.
    """
    text = value.get(NAME, "") if isinstance(value, dict) else value if isinstance(value, str) else ""
    return text.rpartition(".")[2]


def paths(built: "dict[str, Any]") -> "list[list[str]]":
    """Return every file and directory on this machine that training would read, each with the key that names it.

    Relative paths count only under keys that always hold a path: elsewhere they may be names on a hub.
    """
    found: dict[str, str] = {}
    for key in _READ:
        for where, path in _paths_in(key, built.get(key)):
            found.setdefault(path, where)
    return [[where, path] for path, where in found.items()]


def _paths_in(key: str, value: Any) -> "Iterator[tuple[str, str]]":
    if isinstance(value, dict):
        for name, part in value.items():
            if name not in _NO_PATHS and name != NAME:
                yield from _paths_in(name, part)
    elif isinstance(value, list):
        for part in value:
            yield from _paths_in(key, part)
    elif isinstance(value, str) and 0 < len(value) < 4096 and "://" not in value:
        if key in _PATH_KEYS or _ABSOLUTE.match(value):
            yield key, value
