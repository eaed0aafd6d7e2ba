"""The loss history that XTuner writes: `work_dir/<timestamp>/vis_data/scalars.json`, one JSON object a line.

Reads only what is new since the last look; a resumed run's directories make one history. Draws nothing.
"""

import json
import math
from pathlib import Path
from typing import Any

from core.ground.files import read_lines_from

Point = dict[str, Any]


class Metrics:
    """The history of one run, read on as it grows."""

    def __init__(self, work_dir: Path) -> None:
        self._work_dir = work_dir
        self._offsets: dict[Path, int] = {}
        self._points: list[Point] = []
        self._current: Path | None = None

    def read(self) -> list[Point]:
        """All points so far, by iteration: `iter`, `loss`, `lr`, `grad_norm`, `time` (seconds per iteration), …

        A value that is not a finite number is None, so that it shows as a gap.
        """
        for file in sorted(self._work_dir.glob("*/vis_data/scalars.json")):
            lines, self._offsets[file] = read_lines_from(file, self._offsets.get(file, 0))
            for line in lines:
                try:
                    value = json.loads(line)
                except ValueError:
                    continue
                if not isinstance(value, dict) or "loss" not in value:
                    continue
                point = {key: _finite(part) for key, part in value.items()}
                if not isinstance(point.get("iter"), int):
                    continue
                if file != self._current:
                    # A run that was resumed goes back to its checkpoint: what came after it there is told anew.
                    self._points = [old for old in self._points if old["iter"] < point["iter"]]
                    self._current = file
                self._points.append(point)
        return self._points


def smoothed(values: list[float | None], weight: float = 0.9) -> list[float | None]:
    """Exponential moving average with the start's bias taken out (as TensorBoard does); gaps stay gaps."""
    result: list[float | None] = []
    average, seen = 0.0, 0
    for value in values:
        if value is None:
            result.append(None)
            continue
        average = weight * average + (1 - weight) * value
        seen += 1
        result.append(average / (1 - weight**seen))
    return result


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
