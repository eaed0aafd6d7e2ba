"""Figures and rows as CSV, for spreadsheets."""

import csv
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go


def csv_of(found: go.Figure) -> str:
    """Return a figure's data as CSV: a row per position on the horizontal axis, a column per line."""
    names = [html.unescape(trace.name or f"y{number}") for number, trace in enumerate(found.data, 1)]
    rows: dict[Any, dict[str, Any]] = {}
    for name, trace in zip(names, found.data, strict=True):
        for x, y in zip(trace.x, trace.y, strict=True):
            rows.setdefault(x, {})[name] = y
    try:
        places = sorted(rows)
    except TypeError:
        places = list(rows)
    title = found.layout.xaxis.title.text or "x"
    return csv_text([title, *names], ([x, *(rows[x].get(name) for name in names)] for x in places))


def csv_text(header: Sequence[str], rows: Any) -> str:
    """Return rows as CSV with a BOM, by which spreadsheets recognize UTF-8; a missing value or NaN is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_plain(name) for name in header])
    for row in rows:
        writer.writerow(["" if value is None or value != value else _plain(value) for value in row])
    return "\ufeff" + out.getvalue()


def _plain(value: Any) -> Any:
    """Return a float32 as intended (0.1, not 0.10000000149011612), and quote text that a spreadsheet would execute."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return float(str(value)) if isinstance(value, np.floating) else value
