"""The machine samples of a job as columns, read incrementally. Does not write them: see `telemetry`."""

import json
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from core.ground.files import read_lines_from
from core.jobs.columns import Columns

# A longer gap is time in which the job did not run: between a stop and a resume.
PAUSE_SECONDS = 30.0
_USUAL_SECONDS = 2.0
_HOST = ("cpu", "memory_mb", "process_mb", "process_cpu", "disk_free_mb")
_GPU = ("utilisation", "used_mb", "ours_mb", "temperature", "power_w")
_SLICE = ("used_mb", "utilisation")
_CUDA = ("used_mb", "reserved_mb")


class Samples:
    """Columns of numbers, NaN where a value is unknown, and the newest sample as written.

    `seconds` is the job's running time at each sample: pauses are excluded, and clock adjustments have no effect.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin()

    def _begin(self) -> None:
        self._offset = 0
        self._columns = Columns()
        self._t: float | None = None
        self._seconds = 0.0
        self.last: dict[str, Any] = {}
        # Iterations and when they were done, in order; compact, as a day of them is returned on every read.
        self._done, self._when = array("d"), array("d")

    @property
    def count(self) -> int:
        return self._columns.count

    @property
    def anchors(self) -> np.ndarray:
        """When iterations were done, as two rows: the iterations, and the seconds."""
        return np.array([self._done, self._when])

    @property
    def gpus(self) -> list[dict[str, Any]]:
        """The GPUs in the newest sample."""
        return self.last.get("gpus") or []

    def read(self) -> None:
        """Read the new samples. Lines that are not samples are skipped."""
        lines, offset = read_lines_from(self._path, self._offset)
        if offset < self._offset:
            # The file was replaced.
            self._begin()
        self._offset = offset
        samples = [sample for sample in records(lines) if isinstance(sample.get("t"), int | float)]
        self._columns.extend([self._row(sample) for sample in samples])

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns that have a value in any sample.

        `seconds`, `cpu`, `process_mb`, …; per GPU `gpu0.used_mb`, …; `slice0.used_mb`, `cuda.used_mb`.
        """
        return self._columns.views()

    def _row(self, sample: dict[str, Any]) -> dict[str, Any]:
        passed = 0.0 if self._t is None else sample["t"] - self._t
        self._seconds += passed if 0.0 <= passed <= PAUSE_SECONDS else _USUAL_SECONDS
        self._t, self.last = sample["t"], sample
        self._anchor(sample)
        row = {"seconds": self._seconds}
        for name in _HOST:
            row[name] = sample.get(name)
        for label, parts, names in (
            ("gpu{}.", sample.get("gpus"), _GPU),
            ("slice{}.", sample.get("slices"), _SLICE),
            ("cuda.", [sample["cuda"]] if sample.get("cuda") else None, _CUDA),
        ):
            for number, part in enumerate(parts or ()):
                prefix = label.format(number)
                for name in names:
                    row[prefix + name] = part.get(name)
        return row

    def _anchor(self, sample: dict[str, Any]) -> None:
        done, at = sample.get("iter"), sample.get("at")
        if not isinstance(done, int):
            return
        ago = sample["t"] - at if isinstance(at, int | float) else 0.0
        when = self._seconds - (ago if 0.0 <= ago <= PAUSE_SECONDS else 0.0)
        if self._done and self._done[-1] == done:
            return
        # After a resume the iterations start again at the checkpoint.
        while self._done and self._done[-1] >= done:
            self._done.pop()
            self._when.pop()
        self._done.append(done)
        self._when.append(when)


def records(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return the JSON objects among `lines`; parsed in one call if all are valid, which is several times as fast."""
    lines = list(lines)
    try:
        found = json.loads(f"[{','.join(lines)}]") if lines else []
        if len(found) == len(lines):
            return [record for record in found if isinstance(record, dict)]
    except (ValueError, RecursionError):
        pass
    found = []
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            found.append(record)
    return found
