"""The loss history that XTuner writes: `work_dir/<timestamp>/vis_data/scalars.json`, one JSON object per line.

Reads only what is new since the last call; the directories of a resumed run form one history. Draws nothing.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.ground.files import read_lines_from
from core.jobs.samples import records

Point = dict[str, Any]
_FILES = "*/vis_data/scalars.json"


@dataclass(frozen=True, slots=True)
class Batch:
    """New points of one file. If it `begins`, a resumed run replaces everything from its first point on."""

    points: list[Point]
    begins: bool


class Scalars:
    """Reads what is new in the files of one run."""

    def __init__(self, work_dir: Path) -> None:
        self._work_dir = work_dir
        self._offsets: dict[Path, int] = {}
        self._current: Path | None = None

    def new(self) -> list[Batch]:
        """Return the points that were added: each has at least `iter`, an integer, and `loss`, which may be NaN."""
        found = []
        for file in sorted(self._work_dir.glob(_FILES)):
            lines, self._offsets[file] = read_lines_from(file, self._offsets.get(file, 0))
            points = [point for point in records(lines) if "loss" in point and isinstance(point.get("iter"), int)]
            if points:
                found.append(Batch(points, begins=file != self._current))
                self._current = file
        return found


class Metrics:
    """The history of one run, read incrementally."""

    def __init__(self, work_dir: Path) -> None:
        self._scalars = Scalars(work_dir)
        self._points: list[Point] = []

    def read(self) -> list[Point]:
        """Return all points so far, by iteration: `iter`, `loss`, `lr`, `grad_norm`, `time` (seconds per iteration), …

        A value that is not a finite number is None, so that it shows as a gap.
        """
        for batch in self._scalars.new():
            if batch.begins:
                self._points = [old for old in self._points if old["iter"] < batch.points[0]["iter"]]
            self._points += [{key: _finite(part) for key, part in point.items()} for point in batch.points]
        return self._points


# Longer than two lines of a history.
_LAST_BYTES = 4096


def glance(work_dir: Path, most: int = 40) -> list[float]:
    """Return about `most` losses over the complete history, sampled from the files: cheap for any length."""
    files = [file for file in sorted(work_dir.glob(_FILES)) if file.stat().st_size]
    found: list[tuple[int, float]] = []
    for path in files:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            for number in range(places := max(2, most // len(files))):
                file.seek(max(0, size * number // places - 1))
                if number:
                    file.readline()
                found = _after(found, file.readline())
            file.seek(max(0, size - _LAST_BYTES))
            # The last complete line.
            for line in file.read().splitlines(keepends=True)[-2:]:
                found = _after(found, line if line.endswith(b"\n") else b"")
    return [loss for _, loss in found if math.isfinite(loss)]


def _after(found: list[tuple[int, float]], line: bytes) -> list[tuple[int, float]]:
    """Return `found` with the point in a line, which replaces all points from its iteration on."""
    point = records([line.decode("utf-8", errors="replace")])
    if point and isinstance(point[0].get("iter"), int) and isinstance(point[0].get("loss"), int | float):
        return [old for old in found if old[0] < point[0]["iter"]] + [(point[0]["iter"], point[0]["loss"])]
    return found


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
