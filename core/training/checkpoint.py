"""The checkpoints of a run: `work_dir/iter_N.pth`, a file, or a directory where DeepSpeed saved it.

Finds them and tells whole ones from truncated ones without loading them.
"""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from core.ground.files import size_of

_NAME = re.compile(r"iter_(\d+)\.pth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One checkpoint: after which iteration, where, how large."""

    iter: int
    path: Path
    bytes: int

    @property
    def name(self) -> str:
        return f"iter_{self.iter}"

    @property
    def whole(self) -> bool:
        """Whether it can be loaded: torch's files are zip archives, whose directory stands at the very end."""
        if self.path.is_dir():
            files = list(self.path.rglob("*.pt"))
            return bool(files) and all(zipfile.is_zipfile(file) for file in files)
        return zipfile.is_zipfile(self.path)


def checkpoints(work_dir: Path) -> list[Checkpoint]:
    """The checkpoints in `work_dir`, by iteration."""
    found = []
    for path in work_dir.glob("iter_*.pth"):
        match = _NAME.fullmatch(path.name)
        if match:
            found.append(Checkpoint(iter=int(match[1]), path=path, bytes=size_of(path)))
    return sorted(found, key=lambda checkpoint: checkpoint.iter)


def last_whole(work_dir: Path) -> Checkpoint | None:
    """The latest checkpoint that can be loaded, None if there is none."""
    return next((found for found in reversed(checkpoints(work_dir)) if found.whole), None)
