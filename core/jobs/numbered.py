"""The directories of jobs, numbered within their kind: `train-1`, `train-2`, …"""

import contextlib
import os
from pathlib import Path

from core.ground.lock import locked


def numbered(jobs: Path, kind: str) -> list[Path]:
    """Return the directories of the jobs of a kind (`*`: of all), oldest first."""
    found = [path for path in jobs.glob(f"{kind}-*") if path.name.rpartition("-")[2].isdigit()]
    return sorted(found, key=_number)


def next_directory(jobs: Path, kind: str) -> Path:
    """Create the directory of the next job of a kind; only this account may enter it."""
    with locked(jobs / ".lock"):
        taken = numbered(jobs, kind)
        directory = jobs / f"{kind}-{_number(taken[-1]) + 1 if taken else 1}"
        directory.mkdir(parents=True)
    with contextlib.suppress(OSError):
        os.chmod(directory, 0o700)
    return directory


def _number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
