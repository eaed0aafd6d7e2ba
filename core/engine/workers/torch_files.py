"""Read files written by torch without executing anything from their authors.

Part of the workers. Two ways for such a file to run code are closed: calls in a pickle, of which
only those that build tensors and plain values are allowed, each by its exact name; and TorchScript, an archive that
`torch.load` passes to another reader, which executes it even with `weights_only`.

Our own code uses `read`. `guard` protects what libraries load in this process: an older transformers reads a model's
`.bin` as an unrestricted pickle, and XTuner does the same with every `.pth`.
"""

import os
import pickle
import types
import zipfile
from pathlib import Path
from typing import Any

import torch

from core.engine.workers.checkpoint_file import Stub

_STORAGES = "Double Float Half BFloat16 Long Int Short Char Byte Bool ComplexDouble ComplexFloat Untyped Typed".split()
# The names that tensors and plain values are pickled with, besides dtypes.
_FOUND = {
    "builtins": {"set", "frozenset", "complex", "slice", "bytes", "bytearray", "range"},
    "collections": {"OrderedDict", "defaultdict", "Counter", "deque"},
    "_codecs": {"encode"},
    "torch": {"Size", "Tensor", "device", *(f"{kind}Storage" for kind in _STORAGES)},
    "torch.nn.parameter": {"Parameter", "Buffer"},
    "torch.serialization": {"_get_layout"},
    "torch.storage": {"UntypedStorage", "TypedStorage"},
    "torch._tensor": {"_rebuild_from_type_v2"},
    "torch._utils": {
        "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter",
        "_rebuild_parameter_with_state",
    },
}  # fmt: skip
_DTYPES = {str(value).removeprefix("torch.") for value in vars(torch).values() if isinstance(value, torch.dtype)}


class TensorsOnly(pickle.Unpickler):
    """Reads tensors and plain values only, without running foreign code; so mmengine, slow to import, is not needed."""

    def find_class(self, module: str, name: str) -> Any:
        # By exact name: torch itself has functions that run commands, and a dotted name would reach into other modules.
        if name in _FOUND.get(module, ()) or (module == "torch" and name in _DTYPES):
            return super().find_class(module, name)
        return Stub


_PICKLE = types.SimpleNamespace(Unpickler=TensorsOnly, load=pickle.load, loads=pickle.loads, __name__="pickle")
_torchs_own = torch.load
_OURS: "set[Path]" = set()


def read(file: Path) -> Any:
    """Return the tensors and plain values of a file, memory-mapped where possible.

    Raises ValueError for TorchScript.
    """
    refuse_script(file)
    options = {"map_location": "cpu", "weights_only": False, "pickle_module": _PICKLE}
    # As a string: torch 2.1 does not map a Path, and no version maps the older format.
    return _torchs_own(str(file), mmap=zipfile.is_zipfile(file), **options)


def refuse_script(file: Path) -> None:
    """Raise ValueError if the file is a TorchScript archive, which contains code."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.rpartition("/")[2] == "constants.pkl" for name in archive.namelist()):
                raise ValueError(f"{file} is a TorchScript archive, which brings code of its own: it is not loaded.")


def guard() -> None:
    """Restrict `torch.load` in the same way for every caller, except in directories registered with `ours`."""
    torch.load = _load
    # Also for open files, if this torch uses that function.
    torch.serialization._is_torchscript_zip = _refuse_open_script


def ours(directory: Path) -> None:
    """Read everything below `directory`, which a run of this product wrote, without restrictions."""
    _OURS.add(directory.resolve())


def _load(file: Any, *arguments: Any, **options: Any) -> Any:
    if not isinstance(file, (str, os.PathLike)):
        return _torchs_own(file, *arguments, **options)
    refuse_script(Path(file))
    if not options.get("weights_only") and not _OURS & {*Path(file).resolve().parents}:
        # Of the positional arguments, the first is map_location, the second another pickle module.
        arguments = arguments[:1]
        options |= {"pickle_module": _PICKLE, "weights_only": False}
    return _torchs_own(file, *arguments, **options)


def _refuse_open_script(archive: Any) -> bool:
    if "constants.pkl" in archive.get_all_records():
        raise ValueError("A TorchScript archive, which brings code of its own: it is not loaded.")
    return False
