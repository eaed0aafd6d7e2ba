"""Model weights on disk, one tensor at a time: reads safetensors and PyTorch files, streams safetensors to disk.

Part of the workers; imports only torch. It holds one tensor in memory, never a shard or a model: the safetensors
library writes a file only from tensors that are all in memory. Knows nothing of adapters.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.engine.workers import torch_files

# github.com/huggingface/safetensors: 8 bytes little-endian header length, JSON header, data without gaps.
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
_BLOCK = 8 << 20


@dataclass(frozen=True)
class Entry:
    """One tensor of a model: dtype, shape, and location (`offset` in a safetensors file, None in a PyTorch file)."""

    name: str
    file: Path
    dtype: torch.dtype
    shape: "tuple[int, ...]"
    offset: "int | None"

    @property
    def bytes(self) -> int:
        return self.count * self.dtype.itemsize

    @property
    def count(self) -> int:
        count = 1
        for side in self.shape:
            count *= side
        return count


class Weights:
    """The weights of a model directory; tensors are read on demand."""

    def __init__(self, directory: Path) -> None:
        """Read the headers. Raises FileNotFoundError if the directory has no weights."""
        self.directory = directory
        self.entries: dict[str, Entry] = {}
        self._pickled: dict[Path, dict[str, torch.Tensor]] = {}
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

    def read(self, name: str) -> torch.Tensor:
        """Return one tensor, in its own memory."""
        entry = self.entries[name]
        if entry.offset is None:
            return self._pickled[entry.file][name].detach().clone()
        if not entry.bytes:
            return torch.empty(entry.shape, dtype=entry.dtype)
        # Read, not memory-mapped: mapped pages count as memory of the process.
        block = torch.empty(entry.bytes, dtype=torch.uint8)
        with entry.file.open("rb", buffering=0) as file:
            file.seek(entry.offset)
            view, at = memoryview(block.numpy()), 0
            while at < len(view):
                count = file.readinto(view[at:])
                if not count:
                    raise OSError(f"{entry.file} is cut short")
                at += count
        return block.view(entry.dtype).reshape(entry.shape)

    def _pytorch(self, file: Path) -> Iterator[Entry]:
        tensors = torch_files.read(file)
        self._pickled[file] = tensors
        for name, tensor in tensors.items():
            yield Entry(name, file, tensor.dtype, tuple(tensor.shape), None)


def _safetensors(file: Path) -> Iterator[Entry]:
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if 8 + length > file.stat().st_size:
            raise OSError(f"{file} is cut short")
        header = json.loads(stream.read(length))
    for name, facts in header.items():
        if name != "__metadata__":
            start = 8 + length + facts["data_offsets"][0]
            yield Entry(name, file, DTYPES[facts["dtype"]], tuple(facts["shape"]), start)


@dataclass(frozen=True)
class Planned:
    """A tensor to be written: its name, dtype and shape."""

    name: str
    dtype: torch.dtype
    shape: "tuple[int, ...]"

    @property
    def bytes(self) -> int:
        count = 1
        for side in self.shape:
            count *= side
        return count * self.dtype.itemsize


def all_within(tensor: torch.Tensor, most: float) -> bool:
    """Return whether every value is a number from -`most` to `most`; ten times as fast as counting."""
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

    `wrote` is called with the size of each tensor once it is written.
    """
    for name, part in plan.items():
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for tensor in part:
            header[tensor.name] = {
                "dtype": NAMES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": [end, end + tensor.bytes],
            }
            end += tensor.bytes
        encoded = json.dumps(header).encode()
        encoded += b" " * (-len(encoded) % 8)
        with (directory / name).open("wb", buffering=0) as file:
            _write(file, memoryview(struct.pack("<Q", len(encoded)) + encoded))
            for tensor in part:
                value = tensor_of(tensor)
                if value.dtype != tensor.dtype or tuple(value.shape) != tensor.shape:
                    raise ValueError(f"{tensor.name} is {value.dtype} {tuple(value.shape)}, not as planned")
                flat = value.contiguous().reshape(-1)
                if flat.numel():
                    _write(file, memoryview(flat.view(torch.uint8).numpy()))
                del value, flat
                wrote(tensor.bytes)
    if len(plan) > 1:
        index = {
            "metadata": {"total_size": sum(tensor.bytes for part in plan.values() for tensor in part)},
            "weight_map": {tensor.name: name for name, part in plan.items() for tensor in part},
        }
        (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")


def _write(file: Any, view: memoryview) -> None:
    view = view.cast("B")
    for start in range(0, len(view), _BLOCK):
        block = view[start : start + _BLOCK]
        while block:
            block = block[file.write(block) :]
