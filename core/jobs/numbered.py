"""The directories of jobs, numbered within their kind: `train-1`, `train-2`, …"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.ground.files import write_json
from core.ground.lock import locked


def numbered(jobs: Path, kind: str) -> list[Path]:
    """Return the directories of the jobs of a kind (`*`: of all), oldest first."""
    found = [path for path in jobs.glob(f"{kind}-*") if path.name.rpartition("-")[2].isdigit()]
    return sorted(found, key=_number)


def next_directory(jobs: Path, kind: str, about: Mapping[str, Any]) -> Path:
    """Create the directory of the next job of a kind, with `about` as its job.json; only this account may enter it.

    It appears with its job.json: whoever looks meanwhile sees all of it or nothing.
    """
    jobs.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".new", dir=jobs))
    write_json(new / "job.json", about)
    with locked(jobs / ".lock"):
        taken = numbered(jobs, kind)
        return new.rename(jobs / f"{kind}-{_number(taken[-1]) + 1 if taken else 1}")


def _number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
