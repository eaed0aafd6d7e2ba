"""Line charts that stay small and steady while their series grow: at most 400 points a line, drawn anew only on news.

Reads no files: the numbers are given.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np

# Plotly looks at a pandas that it finds loaded: half-loaded by another session's thread it would fail on it.
import pandas  # noqa: F401
import plotly.graph_objects as go
import streamlit as st

MOST_POINTS = 400
# Legible on white and on black.
COLOURS = ("#3f7fe0", "#e08a3c", "#3aa17e", "#a66bd4", "#d65f6f")
FAINT = "#a9bfe3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: where `y` is None it has a gap. `faint` lines stand behind the others."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    faint: bool = False


def thinned(x: Sequence[float], y: Sequence[float | None]) -> tuple[np.ndarray, np.ndarray]:
    """At most 400 points that keep peaks and gaps: the least and the greatest of each bucket.

    Buckets are a power of two of points wide and begin at the first, so that points drawn once stay where they are
    while the series grows.
    """
    xs, ys = np.asarray(x, dtype=np.float32), np.array([np.nan if v is None else v for v in y], dtype=np.float32)
    width = 1
    while 2 * -(-len(ys) // width) > MOST_POINTS and width < len(ys):
        width *= 2
    if len(ys) <= MOST_POINTS:
        return xs, ys
    kept: list[int] = []
    for start in range(0, len(ys), width):
        bucket = ys[start : start + width]
        known = np.flatnonzero(~np.isnan(bucket))
        gaps = np.flatnonzero(np.isnan(bucket))
        ends = {int(known[np.argmin(bucket[known])]), int(known[np.argmax(bucket[known])])} if len(known) else set()
        if len(gaps):
            # A gap takes the place of one of the two.
            ends = {int(gaps[0]), *list(ends)[:1]}
        kept += sorted(start + place for place in ends)
    return xs[kept], ys[kept]


def figure(lines: Sequence[Line], x_title: str, y_title: str, *, log: bool = False, height: int = 320) -> go.Figure:
    """A figure of lines over one axis."""
    result, colours = go.Figure(), cycle(COLOURS)
    for line in lines:
        x, y = thinned(line.x, line.y)
        result.add_scatter(
            x=x,
            y=y,
            name=line.name,
            mode="lines",
            connectgaps=False,
            line={"width": 1.2, "color": FAINT} if line.faint else {"width": 2.5, "color": next(colours)},
        )
    result.update_layout(
        height=height,
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        xaxis_title=x_title,
        yaxis_title=y_title,
        yaxis_type="log" if log else "linear",
        legend={"orientation": "h", "y": 1.12, "x": 0},
        hovermode="x unified",
        # A zoom is kept for as long as the figure is the same.
        uirevision="same",
    )
    return result


def show_chart(key: str, signature: Hashable, make: Callable[[], go.Figure], alt: str) -> None:
    """Draw a figure; it is made again only when `signature` has changed, else the browser keeps what it shows."""
    known = st.session_state.get(f"chart-{key}")
    if known is None or known[0] != signature:
        known = (signature, make())
        st.session_state[f"chart-{key}"] = known
    st.plotly_chart(known[1], key=f"plot-{key}", config={"displaylogo": False, "displayModeBar": False}, alt=alt)
