"""Which Python files of a model's directory would run under `trust_remote_code`, as transformers itself reads it.

    auto_map             in config.json, tokenizer_config.json, … and anywhere inside them: "module.Class" or a list
    custom_pipelines     in config.json: each task's `impl`
    configuration_files  in config.json: other files to read in its place
    adapter_config.json  names another model, which is loaded instead

"repository--module.Class" is code of another place, which nobody has looked at here: such a name is refused, as is
everything that is no plain name. Standard library and Python 3.10 only, so that the engine's workers may import it.
Reads; what is in the way of whom is said by those who ask, and whose leave it takes is for `models.trust`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.ground.files import read_json

# A tokenizer's settings with a hundred thousand words of its own take less.
MOST_BYTES = 32 << 20
# transformers' `module_file, class_name = reference.split(".")`, with names that stay in the directory.
_REFERENCE = re.compile(r"[\w-]+\.[^\W\d]\w*")
_ADAPTER = "adapter_config.json"
# What transformers reads, whatever else lies there under a like name.
_READ = re.compile(r"(tokenizer_|generation_|(video_)?(pre)?processor_|adapter_)?config(\..*)?\.json")
Why = Literal["elsewhere", "name", "unreadable", "another model"]


@dataclass(frozen=True)
class Refused:
    """What is in the way of running a model's code: the JSON file that says it, what it says, and what is wrong with it."""

    where: str
    said: str
    why: Why


@dataclass(frozen=True)
class ModelCode:
    """The Python files that are named, in the directory or missing from it, each with the JSON file that names it first."""

    files: "dict[str, str]"
    refused: "tuple[Refused, ...]"


def model_code(directory: Path) -> ModelCode:
    """What the model in `directory` would run. Raises nothing, whatever its files hold."""
    files: dict[str, str] = {}
    refused: dict[Refused, None] = {}
    # All of them, since config.json may name others of the pattern.
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
    """The object in a JSON file that nobody vouches for; None where there is none, it is too large or too deep."""
    content = read_json(path, MOST_BYTES)
    return content if isinstance(content, dict) else None


def _references(content: Any) -> "Iterator[Any]":
    """Every class that is named anywhere in it, and whatever stands in such a place. Without recursion."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(part for part in value if isinstance(part, (dict, list)))
        elif isinstance(value, dict):
            for key, part in value.items():
                if key == "auto_map":
                    # A list is the older form of a tokenizer's: slow and fast, either of which may be None.
                    for named in part.values() if isinstance(part, dict) else [part]:
                        yield from _listed(named)
                elif key == "custom_pipelines" and isinstance(part, dict):
                    yield from (task["impl"] for task in part.values() if isinstance(task, dict) and "impl" in task)
                if isinstance(part, (dict, list)):
                    waiting.append(part)


def _listed(value: Any) -> "list[Any]":
    """`value` as a list without what is None."""
    return [part for part in (value if isinstance(value, list) else [value]) if part is not None]


def _short(value: Any) -> str:
    """What stands there, in few printable characters."""
    text = value if isinstance(value, str) else type(value).__name__ if isinstance(value, (dict, list)) else str(value)
    text = "".join(letter if letter.isprintable() else "?" for letter in text[:80])
    return text or '""'
