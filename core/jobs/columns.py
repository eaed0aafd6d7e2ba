"""Append-only columns of numbers: appending costs only the new rows, and reading all of them copies nothing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_FIRST = 1024


class Columns:
    """Named columns of equal length; NaN where a row has no finite number. New names may appear at any time."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.count = 0
        self._columns: dict[str, np.ndarray] = {name: np.empty(_FIRST) for name in names}

    def extend(self, rows: Sequence[Mapping[str, Any]], *, all_names: bool = True) -> None:
        """Append `rows`; with `all_names`, an unknown name becomes a new column."""
        if not rows:
            return
        until = self.count + len(rows)
        if all_names:
            for name in dict.fromkeys(name for row in rows for name in row):
                if name not in self._columns and any(_is_number(row.get(name)) for row in rows):
                    self._columns[name] = np.full(max(_FIRST, 2 * until), np.nan)
        for name, column in self._columns.items():
            if until > len(column):
                self._columns[name] = column = np.concatenate([column[: self.count], np.empty(until)])
            column[self.count : until] = _numbers([row.get(name) for row in rows])
        self.count = until

    def cut(self, count: int) -> None:
        """Keep the first `count` rows. Earlier views are unaffected."""
        self.count = min(count, self.count)
        self._columns = {name: column.copy() for name, column in self._columns.items()}

    def views(self) -> dict[str, np.ndarray]:
        """Return read-only views of all columns, without copying; rows appended later are not in them."""
        found = {name: column[: self.count] for name, column in self._columns.items()}
        for column in found.values():
            column.flags.writeable = False
        return found


def _numbers(values: list[Any]) -> np.ndarray:
    try:
        found = np.array(values, dtype=float)
        found[~np.isfinite(found)] = np.nan
    except (TypeError, ValueError):
        # Some value is not a number; None is NaN already.
        found = np.array([float(value) if _is_number(value) else math.nan for value in values])
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
