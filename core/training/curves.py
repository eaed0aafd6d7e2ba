"""The history of a run as columns of numbers, for charts of any length. Draws nothing; `metrics` has it as points."""

import math
from pathlib import Path

import numpy as np

from core.jobs.columns import Columns
from core.training.metrics import Scalars

NAMES = ("iter", "loss", "lr", "grad_norm", "time", "memory")


class Curves:
    """Columns by iteration, read incrementally.

    `iter`, `loss`, `lr`, `grad_norm`, `time` (seconds per iteration), `memory` (MB, on a GPU). NaN where a value is
    missing or not a number.
    """

    def __init__(self, work_dir: Path) -> None:
        self._scalars = Scalars(work_dir)
        self._columns = Columns(NAMES)

    def read(self) -> bool:
        """Read what is new; return whether there was anything."""
        batches = self._scalars.new()
        for batch in batches:
            if batch.begins and self._columns.count:
                self._columns.cut(int(np.searchsorted(self.columns()["iter"], batch.points[0]["iter"])))
            self._columns.extend(batch.points, all_names=False)
        return bool(batches)

    def columns(self) -> dict[str, np.ndarray]:
        """Return a view of all columns."""
        return self._columns.views()


def average(values: np.ndarray, weight: float) -> np.ndarray:
    """Return the bias-corrected exponential moving average of `values`, with 0 <= `weight` < 1.

    After k values it is the sum of (1 - w) w^(k-i) v_i divided by 1 - w^k. NaN stays NaN and has no weight.

    Loops over a few hundred columns of blocks instead of over a hundred thousand values.
    """
    known = np.isfinite(values)
    given = values[known]
    count = len(given)
    result = np.full(len(values), np.nan)
    if not count:
        return result
    width = max(1, math.isqrt(count))
    blocks = -(-count // width)
    grid = np.zeros((blocks, width))
    grid.ravel()[:count] = given * (1 - weight)
    # One row per position within a block, so that each step of the loop works on contiguous memory.
    places = np.ascontiguousarray(grid.T)
    for place in range(1, width):
        places[place] += weight * places[place - 1]
    # The average carried into each block from the one before.
    carried, handed = 0.0, np.empty(blocks)
    for number, last in enumerate(places[-1].tolist()):
        handed[number] = carried
        carried = weight**width * carried + last
    places += weight ** np.arange(1, width + 1)[:, None] * handed
    result[known] = places.T.ravel()[:count]
    # The bias is negligible after a few thousand values.
    biased = min(count, 4_000)
    result[np.flatnonzero(known)[:biased]] /= 1 - weight ** np.arange(1, biased + 1)
    return result


def seconds_at(columns: dict[str, np.ndarray], anchors: np.ndarray) -> np.ndarray:
    """Return the running time of the run at each iteration of `columns`, in seconds.

    Interpolated between `anchors` (`Samples.anchors`), and extrapolated by the iterations' durations beyond them.
    """
    iters = columns["iter"]
    spent = np.cumsum(np.nan_to_num(columns["time"]) * np.diff(iters, prepend=0))
    if not anchors.size or not len(iters):
        return spent
    done, when = anchors
    result = np.interp(iters, done, when)
    before, after = iters < done[0], iters > done[-1]
    result[before] = when[0] - (np.interp(done[0], iters, spent) - spent[before])
    result[after] = when[-1] + (spent[after] - np.interp(done[-1], iters, spent))
    return np.maximum(result, 0.0)


def iterations_at(seconds: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the iteration that the run was at, for each of `seconds`; NaN before the first one."""
    if not anchors.size:
        return np.full(len(seconds), np.nan)
    done, when = anchors
    return np.interp(seconds, when, done, left=np.nan)
