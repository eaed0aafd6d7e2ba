"""Has the libraries that a process does not use pass for not installed: importing them was two fifths of its start.

What uses them asks first whether they are there: transformers, peft and mmengine for all of these, and XTuner's datasets
of pictures, which stand in for themselves here, only where somebody trains on pictures. A library that the command line,
a config or a model's own code names is left as it is, and DeepSpeed where XTuner itself imports it, as before 0.2.0. A
part of the workers; imports nothing but the standard library.
"""

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

# Where scikit-learn is installed, transformers imports it, and it scipy.
UNNEEDED = ("bitsandbytes", "deepspeed", "scipy", "sklearn", "torchvision")
# XTuner's modules that want torchvision, matplotlib and skimage, imported with all its others.
OF_PICTURES = ("xtuner.dataset.internvl_dataset", "xtuner.dataset.refcoco_json")
# Of these an unread part could name anything.
_ELSEWHERE = re.compile(r"read_base|_base_\s*=|xtuner\.dataset\.(internvl|refcoco)|RefCOCO|InternVL")
_MOST_BYTES = 4_000_000
_WHOLE = "XTUNER_STUDIO_WHOLE"


class _Stand(types.ModuleType):
    """A module in which every name is there and is nothing."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def leave_out(words: Sequence[str]) -> None:
    """Leave out what nothing names, of what is not imported yet. `words`: a command line, its files and directories."""
    named = "\n".join(_read(words))
    if _ELSEWHERE.search(named) or os.environ.get(_WHOLE):
        return
    there = {*sys.modules, *_of_xtuner()}
    out = [name for name in UNNEEDED if name not in there and name not in named.lower()]
    if "sklearn" not in out:
        out = [name for name in out if name != "scipy"]
    # What Python itself takes for a module that cannot be imported.
    sys.modules.update(dict.fromkeys(out))
    if "torchvision" in out:
        sys.modules.update({name: _Stand(name) for name in OF_PICTURES if name not in sys.modules})


def leave_out_compiler() -> None:
    """Leave out torch's compiler, a sixth of the start of what only asks a model: transformers imports torch's tensor
    parallelism, which asks the compiler one thing and does without where there is none. Who wants it later finds it.
    """
    if "torch._dynamo" in sys.modules or os.environ.get(_WHOLE):
        return
    sys.modules["torch._dynamo"] = None
    # Another torch may lack the one, or need the other: then it is as if nothing had been tried.
    with contextlib.suppress(Exception):
        importlib.import_module("torch.distributed.tensor.parallel")
    del sys.modules["torch._dynamo"]


@contextlib.contextmanager
def or_whole() -> Iterator[None]:
    """Around imports: where one wants after all what was left out, this process begins again with everything."""
    try:
        yield
    except (ImportError, RuntimeError) as error:
        told, cause = "", error
        while cause is not None:
            told, cause = f"{told} {cause}", cause.__cause__ or cause.__context__
        lacking = any(f"'{name}" in told and sys.modules.get(name, sys) is None for name in UNNEEDED)
        if not lacking or os.environ.get(_WHOLE):
            raise
        os.environ[_WHOLE] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _of_xtuner() -> Iterator[str]:
    """Those that XTuner imports wherever any part of it is imported, by the text of what its `utils` begin with."""
    try:
        spec = importlib.util.find_spec("xtuner")
    except (ImportError, ValueError):
        return
    for place in (spec and spec.submodule_search_locations) or ():
        utils = Path(place) / "utils"
        modules = re.findall(r"^from \.(\w+) import", _text(utils / "__init__.py"), re.MULTILINE)
        text = "\n".join(_text(utils / f"{module}.py") for module in modules)
        yield from re.findall(rf"^(?:import|from) ({'|'.join(UNNEEDED)})\b", text, re.MULTILINE)


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
