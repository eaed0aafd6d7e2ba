"""Make unused libraries appear not to be installed: importing them took two fifths of a process's start.

Code that uses them checks first whether they are installed: transformers, peft and mmengine check for all of these. So
do XTuner's image datasets, which are replaced by stand-ins here and needed only for training on images. A library named
on the command line, in a config or in a model's own code is left alone, and DeepSpeed too if XTuner itself imports it,
as before 0.2.0. Part of the workers; imports only the standard library.
"""

import contextlib
import functools
import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# If scikit-learn or flax is installed, transformers imports scikit-learn, which imports scipy, or jax.
# mmengine tries to import mmcv for each layer of a model, searching the disk each time. Of aiohttp, datasets only wants
# the name of an error.
UNNEEDED = ("aiohttp", "bitsandbytes", "deepspeed", "jax", "mmcv", "scipy", "sklearn", "torchvision")
# Importing these takes longer than writing an adapter, or a small model.
ENGINE = ("torch", "transformers", "peft", "xtuner")
# XTuner's modules that import torchvision, matplotlib and skimage; they are imported along with all others.
OF_PICTURES = ("xtuner.dataset.internvl_dataset", "xtuner.dataset.refcoco_json")
# These refer to code that is not searched here and could name anything.
_ELSEWHERE = re.compile(r"read_base|_base_\s*=|xtuner\.dataset\.(internvl|refcoco)|RefCOCO|InternVL")
_MOST_BYTES = 4_000_000
_WHOLE = "XTUNER_STUDIO_WHOLE"
# XTuner's presets import it from transformers whether or not they quantize.
_ONLY_IMPORTED = re.compile(r"^from transformers import [^\n]*?(?:\([^)]*?)?\b(BitsAndBytesConfig)\b", re.MULTILINE)
_QUANTISES = re.compile(r"\b\w*(?:8|32)bit|Paged")
_COMPILES = re.compile(r"torch\.compile|torch\._|\bcompile\s*=")


class _Stand(types.ModuleType):
    """A module in which every name exists and is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


_COMPILER, _TRACED = "torch._dynamo", "torch._functorch._aot_autograd.functional_utils"


class _Models(types.ModuleType):
    """Stands for `transformers.models`, which imports the packages of all 270 architectures; here each on demand."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return importlib.import_module(f"{self.__name__}.{name}")
        except ModuleNotFoundError as error:
            raise AttributeError(name) from error


def _import_models_one_by_one() -> None:
    spec = importlib.util.find_spec("transformers") if "transformers.models" not in sys.modules else None
    for place in (spec and spec.submodule_search_locations) or ():
        file = Path(place) / "models" / "__init__.py"
        # Later versions do it themselves.
        if re.search(r"^from \. import \(", _text(file), re.MULTILINE):
            sys.modules["transformers.models"] = models = _Models("transformers.models")
            models.__path__, models.__file__ = [str(file.parent)], str(file)


class _Uncompiled(types.ModuleType):
    """Stands for torch's compiler where nothing is compiled; loads it when asked for anything else, or a part of it."""

    __path__: "list[str]" = []

    @staticmethod
    def disable(function: Any = None, recursive: bool = True, **_: Any) -> Any:  # noqa: ARG004
        """Return the function, which nothing compiles anyway."""
        return function if function is not None else lambda one: one

    @staticmethod
    def graph_break(*_: Any, **__: Any) -> None:
        """Do nothing: there is no graph."""

    def load(self) -> types.ModuleType:
        """Give way to the compiler itself."""
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
        return importlib.import_module(_COMPILER)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.load(), name)


class _Parts:
    """Python's finder of the compiler's parts: the first that is asked for loads the compiler, and most of them."""

    def __init__(self, instead: _Uncompiled) -> None:
        self.instead = instead

    def find_spec(self, name: str, *_: Any) -> Any:
        """Find a part of the compiler."""
        if not name.startswith(f"{_COMPILER}.") or sys.modules.get(_COMPILER) is not self.instead:
            return None
        self.instead.load()
        there = sys.modules.get(name)
        path = sys.modules[name.rpartition(".")[0]].__path__
        return importlib.machinery.PathFinder.find_spec(name, path) if there is None else _Loaded.spec(there)


class _Loaded:
    """Python's loader of a module that is loaded already."""

    def __init__(self, module: types.ModuleType) -> None:
        self.module, self.own = module, module.__spec__

    @classmethod
    def spec(cls, module: types.ModuleType) -> Any:
        """Return what Python asks for to load it."""
        return importlib.util.spec_from_loader(module.__name__, cls(module), is_package=hasattr(module, "__path__"))

    def create_module(self, _: Any) -> types.ModuleType:
        """Return the module."""
        return self.module

    def exec_module(self, module: types.ModuleType) -> None:
        """Leave the module as it was."""
        module.__spec__ = self.own


def leave_out(words: Sequence[str]) -> None:
    """Hide libraries that are not yet imported and not named in `words`: a command line, its files and directories."""
    text = named(words)
    if _ELSEWHERE.search(text) or os.environ.get(_WHOLE):
        return
    if not _QUANTISES.search(text):
        text = _ONLY_IMPORTED.sub(lambda found: found[0].removesuffix(found[1]), text)
    there = {*sys.modules, *_of_xtuner(), *_of_datasets()}
    out = [name for name in UNNEEDED if name not in there and name not in text.lower()]
    if "sklearn" not in out:
        out = [name for name in out if name != "scipy"]
    # Python treats an entry of None as a module that cannot be imported.
    sys.modules.update(dict.fromkeys(out))
    _import_models_one_by_one()
    if "torchvision" in out:
        sys.modules.update({name: _Stand(name) for name in OF_PICTURES if name not in sys.modules})


def leave_out_compiler(words: Sequence[str] = ()) -> None:
    """Skip torch's compiler, a sixth of the start of a process, unless a file named in `words` compiles.

    transformers imports torch's tensor parallelism and recomputation, which each need one thing from the compiler. The
    optimizers import it to tell it what not to compile, and get a stand-in. Whoever asks for more has the compiler.
    """
    if _COMPILER in sys.modules or os.environ.get(_WHOLE) or _COMPILES.search(named(words)):
        return
    traced = types.ModuleType(_TRACED)
    traced.is_fun = lambda _tensor: False
    sys.modules[_COMPILER] = None
    if _TRACED not in sys.modules:
        sys.modules[_TRACED] = traced
    # Other versions of torch may lack the one or need the other: then nothing has changed.
    for module in ("torch.distributed.tensor.parallel", "torch.utils.checkpoint"):
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    if sys.modules[_TRACED] is traced:
        del sys.modules[_TRACED]
    sys.modules[_COMPILER] = instead = _Uncompiled(_COMPILER)
    sys.meta_path.insert(0, _Parts(instead))


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
        lacking = any(
            re.search(rf"('|import of ){name}\b", told) and sys.modules.get(name, sys) is None for name in UNNEEDED
        )
        if not lacking or os.environ.get(_WHOLE):
            raise
        os.environ[_WHOLE] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _of_datasets() -> Iterator[str]:
    """Yield the libraries without which this version of datasets cannot be imported."""
    try:
        spec = importlib.util.find_spec("datasets")
    except (ImportError, ValueError):
        return
    for place in (spec and spec.submodule_search_locations) or ():
        yield from _imported(_text(Path(place) / "utils" / "file_utils.py"))


def _imported(text: str) -> "list[str]":
    """Return which of these libraries a module imports in any case, not only within a function or `try`."""
    return re.findall(rf"^(?:import|from) ({'|'.join(UNNEEDED)})\b", text, re.MULTILINE)


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
        yield from _imported(text)


@functools.cache
def _named(words: "tuple[str, ...]") -> str:
    return "\n".join(_read(words))


def named(words: Sequence[str]) -> str:
    """Return a command line with the text of its files, and the code and config.json of the directories they name."""
    return _named(tuple(words))


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
