"""Model weights on disk, one tensor at a time: reads safetensors and PyTorch files, streams safetensors to disk.

Part of the workers. It holds one tensor in memory, never a shard or a model: the safetensors library writes a file only
from tensors that are all in memory. torch, which takes a second to import, is imported where a tensor is needed; bytes
and NumPy arrays do without. Knows nothing of adapters.
"""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# github.com/huggingface/safetensors: 8 bytes little-endian header length, JSON header, data without gaps.
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
# NumPy has no bfloat16.
ARRAYS = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
    "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
_WORDS = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint"}
_BLOCK = 8 << 20


def name_of(kind: str) -> str:
    """Return torch's name for a dtype, as in a config.json."""
    return "bool" if kind == "BOOL" else _WORDS[kind.rstrip("0123456789")] + kind.lstrip("BFIU")


def dtype_of(kind: str) -> Any:
    """Return torch's dtype."""
    import torch

    return getattr(torch, name_of(kind))


def kind_of(value: Any) -> str:
    """Return the safetensors name for the dtype of a tensor or an array."""
    named = str(value.dtype).removeprefix("torch.")
    return next(kind for kind in SIZES if name_of(kind) == named)


@dataclass(frozen=True)
class Planned:
    """A tensor to be written: its name, dtype (safetensors' name for it) and shape."""

    name: str
    kind: str
    shape: "tuple[int, ...]"

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * SIZES[self.kind]

    @property
    def floating(self) -> bool:
        return "F" in self.kind


@dataclass(frozen=True)
class Entry(Planned):
    """One tensor of a model, and its location (`offset` in a safetensors file, None in a PyTorch file)."""

    file: Path
    offset: "int | None"

    @property
    def dtype(self) -> Any:
        return dtype_of(self.kind)


class Weights:
    """The weights of a model directory; tensors are read on demand."""

    def __init__(self, directory: Path) -> None:
        """Read the headers. Raises FileNotFoundError if the directory has no weights."""
        self.directory = directory
        self.entries: dict[str, Entry] = {}
        self._pickled: dict[Path, dict[str, Any]] = {}
        files = sorted(directory.glob("*.safetensors")) or sorted(directory.glob("pytorch_model*.bin"))
        if not files:
            raise FileNotFoundError(f"no weights in {directory}")
        for file in files:
            for entry in _safetensors(file) if file.suffix == ".safetensors" else self._pytorch(file):
                self.entries.setdefault(entry.name, entry)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    @property
    def bytes(self) -> int:
        """The size of all tensors together."""
        return sum(entry.bytes for entry in self)

    def read(self, name: str) -> Any:
        """Return one tensor, in its own memory."""
        import torch

        entry = self.entries[name]
        if entry.offset is None:
            return self._pickled[entry.file][name].detach().clone()
        if not entry.bytes:
            return torch.empty(entry.shape, dtype=entry.dtype)
        return torch.from_numpy(self._block(entry)).view(entry.dtype).reshape(entry.shape)

    def array(self, name: str) -> np.ndarray:
        """Return one tensor as an array. Raises KeyError if NumPy does not know its dtype."""
        entry = self.entries[name]
        return self._block(entry).view(ARRAYS[entry.kind]).reshape(entry.shape)

    def raw(self, name: str) -> Any:
        """Return the bytes of a tensor to be copied; the tensor itself if it is in a PyTorch file."""
        entry = self.entries[name]
        return self.read(name) if entry.offset is None else self._block(entry)

    def _block(self, entry: Entry) -> np.ndarray:
        # Read, not memory-mapped: mapped pages count as memory of the process.
        block = np.empty(entry.bytes, dtype=np.uint8)
        with entry.file.open("rb", buffering=0) as file:
            file.seek(entry.offset)
            view, at = memoryview(block), 0
            while at < len(view):
                count = file.readinto(view[at:])
                if not count:
                    raise OSError(f"{entry.file} is cut short")
                at += count
        return block

    def _pytorch(self, file: Path) -> Iterator[Entry]:
        from core.engine.workers import torch_files

        tensors = torch_files.read(file)
        self._pickled[file] = tensors
        for name, tensor in tensors.items():
            yield Entry(name, kind_of(tensor), tuple(tensor.shape), file, None)


def _safetensors(file: Path) -> Iterator[Entry]:
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if 8 + length > file.stat().st_size:
            raise OSError(f"{file} is cut short")
        header = json.loads(stream.read(length))
    for name, facts in header.items():
        if name != "__metadata__":
            start = 8 + length + facts["data_offsets"][0]
            yield Entry(name, facts["dtype"], tuple(facts["shape"]), file, start)


def all_within(tensor: Any, most: float) -> bool:
    """Return whether every value is a number from -`most` to `most`; ten times as fast as counting."""
    import torch

    if not tensor.numel():
        return True
    low, high = torch.aminmax(tensor)
    return bool(low >= -most) and bool(high <= most)


def shards(tensors: "list[Planned]", most_bytes: int) -> "dict[str, list[Planned]]":
    """Group tensors by file, in order, each file at most `most_bytes` unless a single tensor is larger."""
    parts: list[list[Planned]] = [[]]
    for tensor in tensors:
        if parts[-1] and sum(t.bytes for t in parts[-1]) + tensor.bytes > most_bytes:
            parts.append([])
        parts[-1].append(tensor)
    if len(parts) == 1:
        return {"model.safetensors": parts[0]}
    return {f"model-{n:05d}-of-{len(parts):05d}.safetensors": part for n, part in enumerate(parts, 1)}


def write_shards(directory: Path, plan: "dict[str, list[Planned]]", tensor_of: Any, wrote: Any) -> None:
    """Write each file of `plan` with the tensors from `tensor_of(planned)`, and the index if there are several files.

    A value is a tensor or an array as planned, or the bytes of one. `wrote` is called with the size of each tensor once
    it is written.
    """
    for name, part in plan.items():
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for tensor in part:
            header[tensor.name] = {
                "dtype": tensor.kind,
                "shape": list(tensor.shape),
                "data_offsets": [end, end + tensor.bytes],
            }
            end += tensor.bytes
        encoded = json.dumps(header).encode()
        encoded += b" " * (-len(encoded) % 8)
        with (directory / name).open("wb", buffering=0) as file:
            _write(file, memoryview(struct.pack("<Q", len(encoded)) + encoded))
            for tensor in part:
                block = _bytes(tensor_of(tensor), tensor)
                if len(block):
                    _write(file, memoryview(block))
                del block
                wrote(tensor.bytes)
    if len(plan) > 1:
        index = {
            "metadata": {"total_size": sum(tensor.bytes for part in plan.values() for tensor in part)},
            "weight_map": {tensor.name: name for name, part in plan.items() for tensor in part},
        }
        (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")


def _bytes(value: Any, planned: Planned) -> np.ndarray:
    """Return the bytes of a value. Raises ValueError if it is not as planned."""
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.shape == (planned.bytes,):
        return value
    if kind_of(value) != planned.kind or tuple(value.shape) != planned.shape:
        raise ValueError(f"{planned.name} is {value.dtype} {tuple(value.shape)}, not as planned")
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    import torch

    flat = value.contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy() if flat.numel() else np.empty(0, np.uint8)


def _write(file: Any, view: memoryview) -> None:
    view = view.cast("B")
    for start in range(0, len(view), _BLOCK):
        block = view[start : start + _BLOCK]
        while block:
            block = block[file.write(block) :]
