"""Files that torch has written, read without running anything of those who wrote them.

A part of the workers; imports torch alone. Two ways by which such a file runs code are closed: a pickle's own calls, of
which only those that make tensors and plain values are let through, each by its exact name; and TorchScript, an archive
that `torch.load` hands to another reader, which runs what it holds, whatever it was told of weights only.

Whoever reads, uses `read`. `guard` closes both for what libraries load in this process by themselves: an older
transformers takes a model's `.bin` as a pickle of any kind, XTuner so takes each `.pth`.
"""

import os
import pickle
import types
import zipfile
from pathlib import Path
from typing import Any

import torch

_STORAGES = "Double Float Half BFloat16 Long Int Short Char Byte Bool ComplexDouble ComplexFloat Untyped Typed".split()
# What tensors and plain values are pickled by, beside dtypes.
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


class Stub:
    """Stands for every other object in a file, such as mmengine's in a checkpoint, of which we need nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        """Take an item of a pickled list."""

    extend = append


class TensorsOnly(pickle.Unpickler):
    """Reads tensors and plain values, and runs nobody's code; so mmengine, seconds to import, is not needed."""

    def find_class(self, module: str, name: str) -> Any:
        # By name, since torch itself holds functions that run commands; a dotted name would reach into other modules.
        if name in _FOUND.get(module, ()) or (module == "torch" and name in _DTYPES):
            return super().find_class(module, name)
        return Stub


_PICKLE = types.SimpleNamespace(Unpickler=TensorsOnly, load=pickle.load, loads=pickle.loads, __name__="pickle")
_torchs_own = torch.load
_OURS: "set[Path]" = set()


def read(file: Path) -> Any:
    """The tensors and plain values of a file, mapped, not read, where its form allows. Raises ValueError for TorchScript."""
    refuse_script(file)
    options = {"map_location": "cpu", "weights_only": False, "pickle_module": _PICKLE}
    # As text: torch 2.1 maps nothing that is given as a Path, and no version the older form.
    return _torchs_own(str(file), mmap=zipfile.is_zipfile(file), **options)


def refuse_script(file: Path) -> None:
    """Raise ValueError where the file is an archive of TorchScript, which holds code beside its numbers."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.rpartition("/")[2] == "constants.pkl" for name in archive.namelist()):
                raise ValueError(f"{file} is a TorchScript archive, which brings code of its own: it is not loaded.")


def guard() -> None:
    """From now on `torch.load` reads so too, whoever calls it; but for what lies in a directory of `ours`."""
    torch.load = _load
    # For open files, too; where this torch asks itself by that name.
    torch.serialization._is_torchscript_zip = _refuse_open_script


def ours(directory: Path) -> None:
    """Have all below `directory`, which a training of this product wrote, read as it was written."""
    _OURS.add(directory.resolve())


def _load(file: Any, *arguments: Any, **options: Any) -> Any:
    if not isinstance(file, (str, os.PathLike)):
        return _torchs_own(file, *arguments, **options)
    refuse_script(Path(file))
    if not options.get("weights_only") and not _OURS & {*Path(file).resolve().parents}:
        # Of what may stand at its place, the first is where to load to, the second a pickle of another's.
        arguments = arguments[:1]
        options |= {"pickle_module": _PICKLE, "weights_only": False}
    return _torchs_own(file, *arguments, **options)


def _refuse_open_script(archive: Any) -> bool:
    if "constants.pkl" in archive.get_all_records():
        raise ValueError("A TorchScript archive, which brings code of its own: it is not loaded.")
    return False
