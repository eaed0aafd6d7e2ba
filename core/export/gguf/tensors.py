"""Converts a model's tensors to llama.cpp's names and order of rows. `precision` chooses their types.

Reads safetensors, the format of an export, one tensor at a time and without torch. Names come from the `gguf` library's
own tables.
"""

import json
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy

from core.export.gguf.families import Family, stretch_of
from core.ground.errors import WorkFailed

Read = Callable[[], numpy.ndarray]
_DTYPES = {"F32": numpy.float32, "F16": numpy.float16, "F64": numpy.float64, "BF16": numpy.uint16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor to write: `read` returns its numbers in float32 when needed."""

    name: str
    shape: tuple[int, ...]
    read: Read

    @property
    def number(self) -> int:
        return math.prod(self.shape)


def tensors_of(directory: Path, config: dict[str, Any], family: Family) -> list[Tensor]:
    """Return all tensors of a model by llama.cpp's names. Raises WorkFailed for a tensor without one."""
    names = gguf.get_tensor_name_map(_architecture(family), config["num_hidden_layers"])
    found = list(_stretched(config))
    for theirs, shape, read in stored(directory):
        if family.tied and theirs == "lm_head.weight":
            continue
        for part, part_shape, part_read in _parts(theirs, shape, read, config, family):
            ours = names.get_name(part, try_suffixes=(".weight", ".bias"))
            if ours is None:
                raise WorkFailed(
                    f"llama.cpp 的 {family.name} 没有张量 {theirs}：这个模型与它的 config.json 不符，不能写成 GGUF",
                    f"llama.cpp's {family.name} has no tensor {theirs}: the model does not match its config.json and cannot be written as GGUF",
                )
            found.append(Tensor(name=ours, shape=part_shape, read=part_read))
    return found


def _architecture(family: Family) -> gguf.MODEL_ARCH:
    return next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == family.name)


def _parts(
    name: str, shape: tuple[int, ...], read: Read, config: dict[str, Any], family: Family
) -> Iterator[tuple[str, tuple[int, ...], Read]]:
    """Yield the tensors that one tensor becomes: usually itself."""
    heads = config["num_attention_heads"]
    groups = config.get("num_key_value_heads") or heads
    stem, _, kind = name.rpartition(".")
    if family.fused and stem.endswith("attention.wqkv"):
        each = heads // groups
        size = shape[0] // (groups * (each + 2))
        begin = stem.removesuffix("attention.wqkv")

        def cut(first: int, last: int, turned_heads: int | None) -> tuple[tuple[int, ...], Read]:
            def part() -> numpy.ndarray:
                rows = read().reshape(groups, each + 2, size, *shape[1:])[:, first:last].reshape(-1, *shape[1:])
                return turned(rows, turned_heads) if turned_heads else rows

            return (groups * (last - first) * size, *shape[1:]), part

        yield (f"{begin}self_attn.q_proj.{kind}", *cut(0, each, heads))
        yield (f"{begin}self_attn.k_proj.{kind}", *cut(each, each + 1, groups))
        yield (f"{begin}self_attn.v_proj.{kind}", *cut(each + 1, each + 2, None))
    elif family.turned and stem.endswith(("q_proj", "k_proj")):
        turned_heads = heads if stem.endswith("q_proj") else groups
        yield name, shape, lambda: turned(read(), turned_heads)
    elif family.norms_from_one and name.endswith("norm.weight"):
        yield name, shape, lambda: read() + numpy.float32(1)
    else:
        yield name, shape, read


def turned(rows: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Interleave the two halves of each head in query or key rows, for llama.cpp's rotary embedding."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def _stretched(config: dict[str, Any]) -> Iterator[Tensor]:
    """Yield the divisor of each RoPE frequency for Llama 3.1's scaling, computed as in transformers."""
    stretch, said = stretch_of(config)
    if stretch != "llama3":
        return
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    frequency = 1 / config["rope_theta"] ** (numpy.arange(0, size, 2, dtype=numpy.float64) / size)
    length, factor = 2 * math.pi / frequency, said["factor"]
    low, high = said["low_freq_factor"], said["high_freq_factor"]
    whole = said["original_max_position_embeddings"]
    smooth = numpy.clip((whole / length - low) / (high - low), 0, 1)
    divided = 1 / ((1 - smooth) / factor + smooth)
    yield Tensor(name="rope_freqs.weight", shape=divided.shape, read=lambda: divided.astype(numpy.float32))


def stored(directory: Path) -> Iterator[tuple[str, tuple[int, ...], Read]]:
    """Yield every tensor in a directory's safetensors by name: its shape, and a function that reads it."""
    for file in sorted(directory.glob("*.safetensors")):
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(length))
        for name, said in header.items():
            if name == "__metadata__":
                continue
            if said["dtype"] not in _DTYPES:
                raise WorkFailed(
                    f"{file.name} 的张量 {name} 是 {said['dtype']}，不能写成 GGUF：用 bfloat16 重新合并",
                    f"the tensor {name} in {file.name} is {said['dtype']}, which cannot be written as GGUF: merge again as "
                    "bfloat16",
                )
            begin, _ = said["data_offsets"]
            yield name, tuple(said["shape"]), _reader(file, 8 + length + begin, said["dtype"], tuple(said["shape"]))


def _reader(file: Path, offset: int, dtype: str, shape: tuple[int, ...]) -> Read:
    def read() -> numpy.ndarray:
        raw = numpy.fromfile(file, dtype=_DTYPES[dtype], count=math.prod(shape), offset=offset)
        if dtype == "BF16":
            # bfloat16 is the upper half of a float32.
            raw = (raw.astype(numpy.uint32) << 16).view(numpy.float32)
        return raw.astype(numpy.float32, copy=False).reshape(shape)

    return read
