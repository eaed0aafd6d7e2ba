"""Read the trained tensors of a checkpoint file as NumPy arrays, without torch, which takes a second to import.

A file of `torch.save` is a ZIP archive: a pickle that describes the tensors, and a member for the values of each. Of the
pickle, only those descriptions and plain values are built; everything else in it becomes a `Stub`, and nothing is
imported or executed. Values are read only of the tensors asked for, so an optimizer's states are not touched. What this
module does not know, an older format or bfloat16, is for `torch_files`. Part of the workers.
"""

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_KINDS = {
    "DoubleStorage": np.float64, "FloatStorage": np.float32, "HalfStorage": np.float16, "LongStorage": np.int64,
    "IntStorage": np.int32, "ShortStorage": np.int16, "CharStorage": np.int8, "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}  # fmt: skip


class Unknown(Exception):  # noqa: N818
    """Not a file that can be read without torch."""


class Stub:
    """Stands in for every other object in a file, such as mmengine's, none of which we need."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        """Accept an item of a pickled list."""

    extend = append


class _Tensor:
    """The description of a tensor: where its values are, and its shape."""

    def __init__(self, storage: Any, offset: int, shape: "tuple[int, ...]", stride: "tuple[int, ...]", *_: Any) -> None:
        self.storage, self.offset, self.shape, self.stride = storage, offset, tuple(shape), tuple(stride)

    def __setstate__(self, _: Any) -> None:
        """Ignore attributes of a parameter."""


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


class _Descriptions(pickle.Unpickler):
    """Builds descriptions and plain values; a class or function is never looked up by its name."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            return _Tensor if name == "_rebuild_tensor_v2" else _parameter
        if module == "torch" and name.endswith("Storage"):
            return name
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else Stub

    def persistent_load(self, said: Any) -> Any:
        _, kind, key, *_ = said
        return kind, key


def read(file: Path, wanted: "Callable[[str], bool]") -> "tuple[dict[str, np.ndarray], str]":
    """Return the `wanted` tensors of a checkpoint, and its config's text. Raises Unknown if that needs torch."""
    if not zipfile.is_zipfile(file):
        raise Unknown(file)
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickled = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if len(pickled) != 1 or any(name.rpartition("/")[2] == "constants.pkl" for name in names):
            raise Unknown(file)
        root = pickled[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise Unknown(file)
        with archive.open(pickled[0]) as stream:
            content = _Descriptions(stream).load()
        try:
            tensors, config = content["state_dict"], content["meta"]["cfg"]
        except (KeyError, TypeError) as error:
            raise Unknown(file) from error
        return {name: _array(archive, root, tensors[name]) for name in tensors if wanted(name)}, config


def _array(archive: zipfile.ZipFile, root: str, tensor: Any) -> np.ndarray:
    """Return the values of one tensor, in its own memory."""
    kind = _KINDS.get(tensor.storage[0]) if isinstance(tensor, _Tensor) else None
    if kind is None:
        raise Unknown(tensor)
    values = np.frombuffer(archive.read(f"{root}data/{tensor.storage[1]}"), dtype=kind)
    count, at = math.prod(tensor.shape), tensor.offset
    if min((at, *tensor.shape, *tensor.stride)) < 0:
        raise Unknown(tensor)
    last = at + sum((many - 1) * step for many, step in zip(tensor.shape, tensor.stride, strict=True))
    if count and last >= len(values):
        # A damaged file: what it says of the tensor lies beyond its values.
        raise Unknown(tensor)
    if tensor.stride == _rows_first(tensor.shape):
        return values[at : at + count].reshape(tensor.shape)
    steps = [side * values.itemsize for side in tensor.stride]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(values[at:], tensor.shape, steps, writeable=False))


def _rows_first(shape: "tuple[int, ...]") -> "tuple[int, ...]":
    """Return the strides of a tensor that is stored row by row."""
    return tuple(math.prod(shape[number + 1 :]) for number in range(len(shape)))
