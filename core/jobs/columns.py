"""Columns of numbers that grow at their end: what is appended costs what is new, and a look at all of it costs nothing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_FIRST = 1024


class Columns:
    """Named columns of one length; NaN where a row has no finite number for a name. A new name may come at any time."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.count = 0
        self._columns: dict[str, np.ndarray] = {name: np.empty(_FIRST) for name in names}

    def extend(self, rows: Sequence[Mapping[str, Any]], *, all_names: bool = True) -> None:
        """Append `rows`; with `all_names`, a name that was not there becomes a column of its own."""
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
        """Keep the first `count` rows. What was looked at before stays as it was."""
        self.count = min(count, self.count)
        self._columns = {name: column.copy() for name, column in self._columns.items()}

    def views(self) -> dict[str, np.ndarray]:
        """All columns as they are now, not copied; later rows do not show in them."""
        found = {name: column[: self.count] for name, column in self._columns.items()}
        for column in found.values():
            column.flags.writeable = False
        return found


def _numbers(values: list[Any]) -> np.ndarray:
    try:
        found = np.array(values, dtype=float)
        found[~np.isfinite(found)] = np.nan
    except (TypeError, ValueError):
        # Something among them is no number; None has become NaN already.
        found = np.array([float(value) if _is_number(value) else math.nan for value in values])
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
