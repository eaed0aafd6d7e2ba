"""The copy of a linked model whose code the user agreed to; it is loaded instead of the owner's directory.

Code, settings and tokenizer are copied, and hashed while they are copied; the weights are links to the originals. The
workspace's link is then pointed at the copy, so that whatever gets `models/<name>` sees nothing else of the owner's.
`ground.agreed_code` knows where copies are and who may run them. Asks nobody for permission: see `trust`.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.ground.agreed_code import ORIGIN, copies
from core.ground.errors import BadInput
from core.ground.files import new_directory, read_json, read_start, sha256, write_json
from core.ground.model_code import model_code
from core.ground.workspace import Workspace

# Files that only hold numbers; the workers read tensors from them and execute nothing.
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".ggml", ".h5", ".msgpack", ".onnx", ".npz", ".ckpt")
# Larger files that are not weights are never loaded.
_MOST_BYTES = 256 << 20
_MOST_ALTOGETHER = 1 << 30


def current(workspace: Workspace, path: Path) -> Path | None:
    """Return the copy that the model's link points at; None if it points at the model's own directory."""
    return _copy(workspace.root, path)


def origin(path: Path) -> Path:
    """Return where the files of the model at `path` come from: the directory the user linked, else its own."""
    # Only the workspace's own copies count, whatever lies next to somebody's model.
    copy = _copy(path.parent.parent, path) if path.is_symlink() else None
    said = _record(copy).get("path") if copy else None
    return Path(said) if isinstance(said, str) else path.resolve()


def python_files(directory: Path) -> dict[str, Path]:
    """Return the Python files of a model by relative path: the named ones import their neighbors."""
    return {str(file.relative_to(directory)): file for file in sorted(directory.rglob("*.py")) if file.is_file()}


def is_fresh(copy: Path, source: Path) -> bool:
    """Return whether the owner's files are unchanged since they were copied."""
    stands = {name: _stamp(os.stat(file)) for name, file in _small(source)}
    said = _record(copy)
    return said.get("path") == str(source) and said.get("stamps") == stands and said.get("weights") == _weights(source)


def make(workspace: Workspace, path: Path, files: Mapping[str, str]) -> Path:
    """Copy the model that `models/<name>` links to and point the link at the copy, which is returned.

    `files`: the hashes of the Python files the user agreed to. Raises BadInput if the model has other code, even for a
    moment, or names code that nobody can agree to; nothing is changed in that case.
    """
    source = origin(path)
    contents: dict[str, str] = {}
    stamps: dict[str, list[int]] = {}
    places = copies(workspace.root) / path.name
    places.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=places) as scratch:
        partial = Path(scratch, source.name)
        partial.mkdir(mode=0o700)
        left = _MOST_ALTOGETHER
        # Code first, so that little work is wasted if it is not what was agreed to.
        for name, file in sorted(_small(source), key=lambda pair: not pair[0].endswith(".py")):
            content, stamps[name] = _read(file)
            left -= len(content)
            contents[name] = hashlib.sha256(content).hexdigest()
            if left < 0 or (name.endswith(".py") and files.get(name) != contents[name]):
                raise _changed(path.name, name)
            _write(partial / name, content)
        if model_code(partial).refused:
            raise _changed(path.name, model_code(partial).refused[0].where)
        weights = _weights(source)
        for name in weights:
            (partial / name).symlink_to(source / name)
        told = json.dumps([str(source), sorted(contents.items()), weights]).encode()
        digest = hashlib.sha256(told).hexdigest()[:32]
        agreed = {name: digest for name, digest in contents.items() if name.endswith(".py")}
        said = {"path": str(source), "files": agreed, "stamps": stamps, "weights": weights}
        copy = places / digest / source.name
        if not _is_whole(copy, contents):
            with new_directory(places / digest, replace=True) as made:
                os.rename(partial, made / source.name)
                write_json(made / ORIGIN, said)
        # An existing copy may be in use, and differs only in its time stamps.
        write_json(places / digest / ORIGIN, said)
    # A relative link survives moving the workspace.
    _lead(path, Path(os.path.relpath(copy.resolve(), path.parent.resolve())))
    return copy


def drop(workspace: Workspace, name: str) -> None:
    """Point the model's link back at the original files and delete its copies."""
    path = workspace.models / name
    if path.is_symlink() and current(workspace, path) is not None:
        _lead(path, origin(path))
    shutil.rmtree(copies(workspace.root) / name, ignore_errors=True)


def _copy(root: Path, path: Path) -> Path | None:
    real = path.resolve()
    return real if copies(root).resolve() in real.parents else None


def _is_whole(copy: Path, contents: Mapping[str, str]) -> bool:
    """Return whether the copy is complete and unchanged and contains no further code."""
    there = all((copy / name).is_file() and sha256(copy / name) == digest for name, digest in contents.items())
    return there and set(python_files(copy)) <= set(contents)


def _lead(path: Path, target: Path) -> None:
    """Point the link at `target` atomically."""
    with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=path.parent) as scratch:
        link = Path(scratch, path.name)
        link.symlink_to(target, target_is_directory=True)
        os.replace(link, path)


def _small(source: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files to copy: all Python files, and files of the top directory that are not weights."""
    yield from python_files(source).items()
    for file in sorted(source.iterdir()):
        hidden = file.name.startswith(".") or file.suffix == ".py"
        if not hidden and file.suffix not in WEIGHTS and file.is_file() and file.stat().st_size <= _MOST_BYTES:
            yield file.name, file


def _weights(source: Path) -> list[str]:
    found = (file for file in source.iterdir() if file.suffix in WEIGHTS and not file.name.startswith("."))
    return sorted(file.name for file in found if file.is_file())


def _read(file: Path) -> tuple[bytes, list[int]]:
    """Return the content of a file and its stamp before reading: if it changes in between, the stamp shows it later."""
    stamp = _stamp(os.stat(file))
    return read_start(file, _MOST_BYTES), stamp


def _write(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(place, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)


def _stamp(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_mtime_ns]


def _record(copy: Path) -> dict[str, Any]:
    said = read_json(copy.parent / ORIGIN)
    return said if isinstance(said, dict) else {}


def _changed(name: str, file: str) -> BadInput:
    return BadInput(
        f"模型 {name} 的 {file} 不是刚才同意的内容：在“准备”页再看一次，或再用一次 models trust {name}",
        f"{file} of the model {name} is not the version that you agreed to: review it again on the Setup page, or run models trust "
        f"{name} again",
    )
