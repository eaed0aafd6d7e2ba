"""Make unused libraries appear not to be installed: importing them took two fifths of a process's start.

Code that uses them checks first whether they are installed: transformers, peft and mmengine check for all of these. So
do XTuner's image datasets, which are replaced by stand-ins here and needed only for training on images. A library named
on the command line, in a config or in a model's own code is left alone, and DeepSpeed too if XTuner itself imports it,
as before 0.2.0. Part of the workers; imports only the standard library.
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

# If scikit-learn is installed, transformers imports it, and it imports scipy.
UNNEEDED = ("bitsandbytes", "deepspeed", "scipy", "sklearn", "torchvision")
# Importing these takes longer than writing an adapter, or a small model.
ENGINE = ("torch", "transformers", "peft", "xtuner")
# XTuner's modules that import torchvision, matplotlib and skimage; they are imported along with all others.
OF_PICTURES = ("xtuner.dataset.internvl_dataset", "xtuner.dataset.refcoco_json")
# These refer to code that is not searched here and could name anything.
_ELSEWHERE = re.compile(r"read_base|_base_\s*=|xtuner\.dataset\.(internvl|refcoco)|RefCOCO|InternVL")
_MOST_BYTES = 4_000_000
_WHOLE = "XTUNER_STUDIO_WHOLE"


class _Stand(types.ModuleType):
    """A module in which every name exists and is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def leave_out(words: Sequence[str]) -> None:
    """Hide libraries that are not yet imported and not named in `words`: a command line, its files and directories."""
    named = "\n".join(_read(words))
    if _ELSEWHERE.search(named) or os.environ.get(_WHOLE):
        return
    there = {*sys.modules, *_of_xtuner()}
    out = [name for name in UNNEEDED if name not in there and name not in named.lower()]
    if "sklearn" not in out:
        out = [name for name in out if name != "scipy"]
    # Python treats an entry of None as a module that cannot be imported.
    sys.modules.update(dict.fromkeys(out))
    if "torchvision" in out:
        sys.modules.update({name: _Stand(name) for name in OF_PICTURES if name not in sys.modules})


def leave_out_compiler() -> None:
    """Skip torch's compiler, a sixth of the start of a process that only queries a model.

    transformers imports torch's tensor parallelism, which needs one thing from the compiler and does without if it is
    missing. Later imports of the compiler work.
    """
    if "torch._dynamo" in sys.modules or os.environ.get(_WHOLE):
        return
    sys.modules["torch._dynamo"] = None
    # Other versions of torch may lack the one or need the other: then nothing has changed.
    with contextlib.suppress(Exception):
        importlib.import_module("torch.distributed.tensor.parallel")
    del sys.modules["torch._dynamo"]


@contextlib.contextmanager
def without_engine() -> Iterator[None]:
    """Shut out the engine's large libraries: what imports one raises ImportError, and can be done again with them."""
    out = [name for name in ENGINE if name not in sys.modules]
    sys.modules.update(dict.fromkeys(out))
    try:
        yield
    finally:
        for name in out:
            del sys.modules[name]


def shut_out(name: str) -> bool:
    """Return whether a library cannot be imported at the moment, although it may be installed."""
    return name in sys.modules and sys.modules[name] is None


@contextlib.contextmanager
def or_whole() -> Iterator[None]:
    """Wrap imports: if one needs a hidden library after all, restart this process with everything visible."""
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
    """Yield the libraries that XTuner imports with any part of itself, found in the source of its `utils`."""
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
    """Yield the words, the files among them, and the code and config.json of the directories that these name."""
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
