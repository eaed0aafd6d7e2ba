"""The Python files of a model's directory that would run under `trust_remote_code`, as transformers resolves them.

    auto_map             in config.json, tokenizer_config.json, … and anywhere inside them: "module.Class" or a list
    custom_pipelines     in config.json: each task's `impl`
    configuration_files  in config.json: other files to read in its place
    adapter_config.json  names another model, which is loaded instead

"repository--module.Class" is code from elsewhere, which nobody has reviewed here: such a name is refused, as is
anything that is not a plain name. Standard library and Python 3.10 only, so that the engine's workers may import it.
Only reads: callers report what is refused, and `models.trust` handles permission.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.ground.files import read_json

# A tokenizer's settings with a hundred thousand added words are smaller.
MOST_BYTES = 32 << 20
# transformers' `module_file, class_name = reference.split(".")`, limited to names within the directory.
_REFERENCE = re.compile(r"[\w-]+\.[^\W\d]\w*")
_ADAPTER = "adapter_config.json"
# The files that transformers reads, whatever else has a similar name.
_READ = re.compile(r"(tokenizer_|generation_|(video_)?(pre)?processor_|adapter_)?config(\..*)?\.json")
Why = Literal["elsewhere", "name", "unreadable", "another model"]


@dataclass(frozen=True)
class Refused:
    """A reason not to run a model's code: the JSON file, its value, and what is wrong with it."""

    where: str
    said: str
    why: Why


@dataclass(frozen=True)
class ModelCode:
    """The Python files that are named, existing or missing, each with the JSON file that names it first."""

    files: "dict[str, str]"
    refused: "tuple[Refused, ...]"


def model_code(directory: Path) -> ModelCode:
    """Return what the model in `directory` would run. Raises nothing, whatever its files contain."""
    files: dict[str, str] = {}
    refused: dict[Refused, None] = {}
    # All matching files, since config.json may name others.
    for path in sorted(directory.glob("*config*.json")):
        if not path.is_file():
            continue
        content = read_object(path)
        if content is None:
            if _READ.fullmatch(path.name):
                refused[Refused(path.name, "", "unreadable")] = None
            continue
        if path.name == _ADAPTER and content.get("base_model_name_or_path") is not None:
            refused[Refused(path.name, _short(content["base_model_name_or_path"]), "another model")] = None
        for name in _listed(content.get("configuration_files")):
            if not isinstance(name, str) or "/" in name or "\\" in name or "\0" in name:
                refused[Refused(path.name, _short(name), "elsewhere")] = None
        for reference in _references(content):
            if isinstance(reference, str) and _REFERENCE.fullmatch(reference) and "--" not in reference:
                files.setdefault(f"{reference.partition('.')[0]}.py", path.name)
            else:
                far = isinstance(reference, str) and any(part in reference for part in ("--", "/", "\\"))
                refused[Refused(path.name, _short(reference), "elsewhere" if far else "name")] = None
    return ModelCode(files, tuple(refused))


def read_object(path: Path) -> "dict[str, Any] | None":
    """Return the object in an untrusted JSON file; None if there is none, or it is too large or too deep."""
    content = read_json(path, MOST_BYTES)
    return content if isinstance(content, dict) else None


def _references(content: Any) -> "Iterator[Any]":
    """Yield every value in a place where a class is named. Iterative, not recursive."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(part for part in value if isinstance(part, (dict, list)))
        elif isinstance(value, dict):
            for key, part in value.items():
                if key == "auto_map":
                    # A list is a tokenizer's older form: slow and fast, either of which may be None.
                    for named in part.values() if isinstance(part, dict) else [part]:
                        yield from _listed(named)
                elif key == "custom_pipelines" and isinstance(part, dict):
                    yield from (task["impl"] for task in part.values() if isinstance(task, dict) and "impl" in task)
                if isinstance(part, (dict, list)):
                    waiting.append(part)


def _listed(value: Any) -> "list[Any]":
    """Return `value` as a list without None."""
    return [part for part in (value if isinstance(value, list) else [value]) if part is not None]


def _short(value: Any) -> str:
    """Return the value as a short printable text."""
    text = value if isinstance(value, str) else type(value).__name__ if isinstance(value, (dict, list)) else str(value)
    text = "".join(letter if letter.isprintable() else "?" for letter in text[:80])
    return text or '""'
