"""Checks from headers and sizes whether a model directory is complete: weights, index, configuration, code, tokenizer.

Loads no weights and imports no torch. Only checks the files; trust, for example, is not checked here.
"""

import json
import os
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from core.ground.files import read_start
from core.ground.model_code import MOST_BYTES, model_code, read_object
from core.ground.problem import Problem
from core.ground.text import Text
from core.models.settings import settings

# Bytes per parameter of each dtype, in the spelling of config.json and safetensors.
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "F32": 4, "F16": 2, "BF16": 2, "int8": 1, "I8": 1}
# A model with 700 billion parameters has 91,000 tensors in 10 MB of headers and 163 files.
_MOST_HEADERS = 32 << 20
_MOST_FILES = 2000
_MOST_AXES = 8
# Names of files and tensors may have any length; shown are this many characters.
_LONGEST_NAME = 200
_POINTER = b"version https://git-lfs"
# Messages for an invalid reference to code, with a hint if fetching the file again does not help.
_REFUSED = {
    "elsewhere": ("它指向别处的代码：{said}", "it refers to code in another repository: {said}"),
    "name": ("auto_map 里的 {said} 不是“模块.类名”", "auto_map contains {said}, which is not of the form module.Class"),
    "unreadable": (
        "不能作为 JSON 读取：损坏、过大或嵌套太深",
        "not readable as JSON: invalid, too large or too deeply nested",
    ),
    "another model": (
        "它会让 transformers 改为加载另一个模型：{said}",
        "it makes transformers load another model: {said}",
    ),
}
_REFUSED_HINTS = {
    "elsewhere": Text(
        "没有人看过那里的代码：把需要的 .py 文件放进模型目录，只写“模块.类名”",
        "you have not reviewed that code: put the .py file into the model's directory and write only module.Class",
    ),
    "another model": Text("请把这个文件移出模型目录", "move this file out of the model's directory"),
}
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The contents of the weight files that exist. `parameters` of `.bin` files is computed from their size."""

    parameters: int = 0
    bytes: int = 0
    dtype: str | None = None


class _Found:
    """Collects the problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def __call__(self, where: str, zh: str, en: str, hint: Text | None = None) -> None:
        hint = hint or Text("请重新下载或补齐这个文件", "download or copy this file again")
        self.problems.append(Problem(severity="error", where=where[:_LONGEST_NAME], message=Text(zh, en), hint=hint))


def examine(path: Path) -> tuple[dict[str, Any], Weights, list[Problem]]:
    """Return the content of config.json, the facts about the weights, and every problem of the directory's files."""
    found = _Found()
    config, wrong = settings(path)
    if config is None:
        found("config.json", "没有这个文件，或不是合法的 JSON", "missing, or not valid JSON")
        config = {}
    for key in wrong:
        found("config.json", f"{key} 的值不是它该有的类型或大小", f"{key} has an invalid type or value")
    _code(path, found)
    _tokenizer(path, found)
    return config, _weights(path, config.get("torch_dtype"), found), found.problems


def _code(path: Path, found: _Found) -> None:
    """Report what prevents the model's code from running: missing files, and code in other repositories."""
    named = model_code(path)
    for file, where in sorted(named.files.items()):
        if not (path / file).is_file():
            found(file, f"{where} 的 auto_map 提到它，但没有这个文件", f"named by auto_map in {where}, but missing")
        elif (path / file).stat().st_size > MOST_BYTES:
            found(file, "太大了，不会是代码", "too large for a code file")
    for refused in named.refused:
        if refused.why == "unreadable" and refused.where == "config.json":
            continue
        zh, en = _REFUSED[refused.why]
        hint = _REFUSED_HINTS.get(refused.why)
        found(refused.where, zh.format(said=refused.said), en.format(said=refused.said), hint)


def _tokenizer(path: Path, found: _Found) -> None:
    there = [file for file in TOKENIZERS if (path / file).is_file()]
    if not there:
        found("tokenizer", "没有分词器文件", "no tokenizer file")
    for file in there:
        if _is_pointer(path / file):
            _pointer(file, found)
        elif not (path / file).stat().st_size:
            found(file, "文件是空的", "the file is empty")


def _weights(path: Path, dtype: str | None, found: _Found) -> Weights:
    """Return the contents of the weight files; every missing or truncated shard is a problem."""
    wanted, index = _wanted(path, found)
    headers = safetensors_headers(path)
    parameters, total, seen = 0, 0, None
    for name, tensors in wanted.items():
        shard = path / name
        # os.path reports a name that no file system accepts as missing, while Path raises.
        if not os.path.isfile(shard):
            found(name, "索引里有它，但没有这个文件", "listed in the index, but missing")
            continue
        total += shard.stat().st_size
        if _is_pointer(shard):
            _pointer(name, found)
        elif shard.suffix == ".safetensors":
            header = headers.get(shard)
            if header is None:
                found(name, "文件不完整（长度与头部不符）", "truncated: its length does not match its header")
                continue
            parameters += sum(prod(tensor["shape"]) for tensor in header.values())
            seen = seen or next((tensor["dtype"] for tensor in header.values()), None)
            lost = sorted(tensors - set(header))
            if lost:
                found(
                    name,
                    f"缺少索引里的 {len(lost)} 个张量，例如 {lost[0][:_LONGEST_NAME]}",
                    f"lacks {len(lost)} tensors listed in the index, such as {lost[0][:_LONGEST_NAME]}",
                )
        elif not _whole_bin(shard):
            found(name, "文件不完整或不是 PyTorch 权重", "truncated, or not PyTorch weights")
        elif _is_script(shard):
            found(
                name,
                "是 TorchScript 存档，里面除了数值还有代码，不予加载",
                "a TorchScript archive, which contains code: it is not loaded",
                Text("请换成 safetensors 格式的权重", "use the safetensors weights instead"),
            )
    if not parameters and total:
        said = index["metadata"].get("total_size") if isinstance(index.get("metadata"), dict) else None
        parameters = int(said if isinstance(said, (int, float)) and 0 < said < 1e15 else total) // _BYTES.get(
            dtype or "", 2
        )
    return Weights(parameters=parameters, bytes=total, dtype=seen)


def _wanted(path: Path, found: _Found) -> tuple[dict[str, set[str]], dict[str, Any]]:
    """Return the required weight files, each with the tensors that the index places in it, and the index itself."""
    place = next(
        (p for p in (path / "model.safetensors.index.json", path / "pytorch_model.bin.index.json") if p.is_file()), None
    )
    if place is not None:
        content = read_object(place) or {}
        mapping = content.get("weight_map")
        wanted: dict[str, set[str]] = {}
        for tensor, shard in sorted(mapping.items()) if isinstance(mapping, dict) else ():
            if isinstance(shard, str) and shard == os.path.basename(shard):
                wanted.setdefault(shard, set()).add(tensor)
        if len(wanted) > _MOST_FILES:
            found(place.name, f"索引提到了 {len(wanted)} 个文件", f"the index names {len(wanted)} files")
            return {}, content
        if not wanted:
            found(place.name, "索引是空的或不是合法的 JSON", "the index is empty or not valid JSON")
        return dict(sorted(wanted.items())), content
    single = [name for name in ("model.safetensors", "pytorch_model.bin") if (path / name).is_file()][:1]
    shards = [*path.glob("model-*.safetensors"), *path.glob("pytorch_model-*.bin")]
    if not single and shards:
        name = f"{shards[0].name.partition('-')[0]}{shards[0].suffix}.index.json"
        found(name, "权重分成了多个文件，但没有索引", "the weights are in several files, but the index is missing")
    elif not single:
        found("model.safetensors", "没有权重文件", "no weights")
    return {name: set() for name in single}, {}


def safetensors_headers(directory: Path) -> dict[Path, dict[str, Any] | None]:
    """Return the tensors listed in the header of each safetensors file of a directory.

    None for a file that is truncated or not in this format. Headers larger than any real model's are not read. Format:
    8 bytes little-endian header length, JSON header, data (github.com/huggingface/safetensors).
    """
    found: dict[Path, dict[str, Any] | None] = {}
    left = _MOST_HEADERS
    for path in sorted(directory.glob("*.safetensors"))[:_MOST_FILES]:
        found[path] = None
        try:
            (length,) = struct.unpack("<Q", read_start(path, 8))
            if length > left:
                continue
            left -= length
            found[path] = _tensors(json.loads(read_start(path, 8 + length)[8:]), path.stat().st_size - 8 - length)
        except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError, MemoryError, struct.error):
            continue
    return found


def _tensors(header: dict[str, Any], size: int) -> dict[str, Any] | None:
    """Return the tensors of a header if they are valid and take exactly `size` bytes."""
    header.pop("__metadata__", None)
    end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    return header if all(map(_is_tensor, header.values())) and end == size else None


def _is_tensor(said: dict[str, Any]) -> bool:
    """Return whether a header's entry is plausible: no dtype packs more than two numbers into a byte."""
    begin, end = said["data_offsets"]
    shape = said["shape"]
    return (
        isinstance(said["dtype"], str)
        and isinstance(shape, list)
        and len(shape) <= _MOST_AXES
        and all(type(number) is int and number >= 0 for number in (*shape, begin, end))
        and prod(shape) <= 2 * (end - begin)
    )


def _whole_bin(path: Path) -> bool:
    """Return whether a `.bin` file can be PyTorch's: a complete zip (directory at its end), or the older pickle."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
        return zipfile.is_zipfile(path) if start == b"PK" else start == b"\x80\x02"
    except OSError:
        return False


def _is_script(path: Path) -> bool:
    """Return whether a zip is TorchScript's, by a name in the directory at its end."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - (1 << 20)))
            return b"/constants.pkl" in file.read()
    except OSError:
        return False


def _is_pointer(path: Path) -> bool:
    """Return whether a file is only a git-lfs pointer."""
    try:
        if path.stat().st_size > 1024:
            return False
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


def _pointer(where: str, found: Callable[..., None]) -> None:
    found(
        where,
        "只是 git-lfs 的指针，不是文件本身",
        "only a git-lfs pointer, not the file itself",
        Text("请在模型目录里运行 git lfs pull", "run git lfs pull in the model's directory"),
    )
