"""Has the libraries that a process does not use pass for not installed: importing them was two fifths of its start.

What uses them asks first whether they are there: transformers, peft and mmengine for all of these, and XTuner's datasets
of pictures, which stand in for themselves here, only where somebody trains on pictures. A library that the command line,
a config or a model's own code names is left as it is. A part of the workers; imports nothing but the standard library.
"""

import re
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

UNNEEDED = ("bitsandbytes", "deepspeed", "scipy", "torchvision")
# XTuner's modules that want torchvision, matplotlib and skimage, imported with all its others.
OF_PICTURES = ("xtuner.dataset.internvl_dataset", "xtuner.dataset.refcoco_json")
# Of these an unread part could name anything.
_ELSEWHERE = re.compile(r"read_base|_base_\s*=|xtuner\.dataset\.(internvl|refcoco)|RefCOCO|InternVL")
_MOST_BYTES = 4_000_000


class _Stand(types.ModuleType):
    """A module in which every name is there and is nothing."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def leave_out(words: Sequence[str]) -> None:
    """Leave out what nothing names, of what is not imported yet. `words`: a command line, its files and directories."""
    named = "\n".join(_read(words))
    if _ELSEWHERE.search(named):
        return
    out = [name for name in UNNEEDED if name not in sys.modules and name not in named.lower()]
    # What Python itself takes for a module that cannot be imported.
    sys.modules.update(dict.fromkeys(out))
    if "torchvision" in out:
        sys.modules.update({name: _Stand(name) for name in OF_PICTURES if name not in sys.modules})


def _read(words: Sequence[str]) -> Iterator[str]:
    """The words, what the files among them say, and the code and config.json of the directories that all these name."""
    texts = [*words, *(_text(Path(word)) for word in words)]
    yield from texts
    paths = set(words) | {found for text in texts for found in re.findall(r"""['"](/[^'"\n]+)['"]""", text)}
    for path in map(Path, sorted(paths)):
        try:
            files = sorted(path.glob("*.py")) + [path / "config.json"] if path.is_dir() else []
        except OSError:
            continue
        yield from map(_text, files)


def _text(file: Path) -> str:
    try:
        if not file.is_file() or file.stat().st_size > _MOST_BYTES:
            return ""
        return file.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
