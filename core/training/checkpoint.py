"""The checkpoints of a run: `work_dir/iter_N.pth`, a file, or a directory if DeepSpeed saved it.

Finds them and tells complete from damaged ones without loading them: torch's files are zip archives written front to
back, with a pickled outline that names every data block and its length.
"""

import pickle
import re
import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.ground.files import size_of

_NAME = re.compile(r"iter_(\d+)\.pth")
_SHARD = re.compile(r"(bf16_|fp16_)?zero_pp_rank_(\d+)_mp_rank_(\d+)_(optim|model)_states\.pt")
# The number of ranks, in DeepSpeed's model file.
_WORLD = "dp_world_size"
_BYTES = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
    "ComplexFloat": 8, "ComplexDouble": 16,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One checkpoint: iteration, path and size. `ranks`: whose shards this machine should have, None for all."""

    iter: int
    path: Path
    bytes: int
    ranks: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        return f"iter_{self.iter}"

    @property
    def whole(self) -> bool:
        """Whether it can be loaded: nothing is truncated or missing."""
        try:
            if self.path.is_dir():
                return _directory_is_whole(self.path, self.ranks)
            return _outline(self.path) is not None
        except OSError:
            # It is being replaced right now.
            return False


def checkpoints(work_dir: Path, ranks: Iterable[int] | None = None) -> list[Checkpoint]:
    """Return the checkpoints in `work_dir`, by iteration."""
    found = []
    expected = None if ranks is None else tuple(ranks)
    for path in work_dir.glob("iter_*.pth"):
        match = _NAME.fullmatch(path.name)
        if match:
            try:
                size = size_of(path)
            except OSError:
                # Deleted in the meantime: only the newest ones are kept.
                continue
            found.append(Checkpoint(iter=int(match[1]), path=path, bytes=size, ranks=expected))
    return sorted(found, key=lambda checkpoint: checkpoint.iter)


def last_whole(work_dir: Path, ranks: Iterable[int] | None = None) -> Checkpoint | None:
    """Return the latest loadable checkpoint; None if there is none."""
    return next((found for found in reversed(checkpoints(work_dir, ranks)) if found.whole), None)


def _directory_is_whole(directory: Path, ranks: tuple[int, ...] | None) -> bool:
    """Return whether a DeepSpeed checkpoint has the model and a shard of every rank that the model file counts."""
    files = sorted(directory.rglob("*.pt"))
    outlines = {file: _outline(file) for file in files}
    if not files or None in outlines.values():
        return False
    shards = {kind: set() for kind in ("optim", "model")}
    worlds = []
    for file, outline in outlines.items():
        match = _SHARD.fullmatch(file.name)
        if match:
            shards[match[4]].add(int(match[2]))
        if file.name.endswith("model_states.pt"):
            worlds.append(outline.get(_WORLD))
    if not worlds:
        return False
    world = max((world for world in worlds if isinstance(world, int)), default=0)
    expected = set(range(world)) if ranks is None else set(ranks)
    # With ZeRO-3 the model has a file per rank; the optimizer states always do.
    return all(not there or expected <= there for there in shards.values())


def _outline(path: Path) -> dict[str, Any] | None:
    """Return what we need from a torch file's outline; None if blocks are missing. Cached until the file changes."""
    stat = path.stat()
    # As text, which takes a third of the memory of a Path: hundreds are remembered.
    return _read_outline(str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=512)
def _read_outline(path: str, _inode: int, size: int, _changed: int) -> dict[str, Any] | None:
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
            entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
            for entry in entries.values():
                file.seek(entry.header_offset)
                header = file.read(30)
                name, extra = struct.unpack("<HH", header[26:30])
                if header[:4] != b"PK\x03\x04":
                    return None
                if entry.header_offset + 30 + name + extra + entry.compress_size > size:
                    return None
            blocks: dict[str, int] = {}
            outline = _Outline(archive.open(entries["data.pkl"]), blocks).load()
    except (zipfile.BadZipFile, KeyError, struct.error, ValueError, EOFError, pickle.UnpicklingError, OSError):
        return None
    except Exception:
        # A pickle that we cannot parse, because of a class with custom pickling, is no proof of damage.
        outline = {}
    there = {key: entry.file_size for key, entry in entries.items()}
    if any(there.get(f"data/{key}", -1) < length for key, length in blocks.items()):
        return None
    # The rest may be large, with a history of all losses, and is not needed.
    return {_WORLD: outline.get(_WORLD)} if isinstance(outline, dict) else {}


class _Anything:
    """Stands in for every object in a pickle, so that reading one runs no foreign code."""

    def __new__(cls, *_: Any, **__: Any) -> "_Anything":
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> "_Anything":
        return _Anything()

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        pass

    def extend(self, _: Any) -> None:
        pass

    def add(self, _: Any) -> None:
        pass


class _Outline(pickle.Unpickler):
    """Reads the outline of a torch file: plain values as they are, others as `_Anything`.

    Records the blocks it names.
    """

    def __init__(self, file: Any, blocks: dict[str, int]) -> None:
        super().__init__(file)
        self._blocks = blocks

    def find_class(self, module: str, name: str) -> Any:  # noqa: ARG002
        return type(name, (_Anything,), {})

    def persistent_load(self, told: Any) -> "_Anything":
        """`("storage", type, key, device, elements)`"""
        _, kind, key, _, elements = told
        self._blocks[key] = elements * _BYTES.get(kind.__name__.removesuffix("Storage"), 1)
        return _Anything()
