"""Charts that remain small and steady while their series grow, with download as PNG and CSV.

A figure has at most about 1,500 points, in float32, however long its lines are. It is rebuilt only when there is new
data: between two figures the browser keeps its state, including the zoom. Reads no files: the numbers are passed in.
"""

import base64
import html
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np

# Import pandas completely first: Plotly inspects a loaded pandas and fails if another session's thread has only half
# imported it.
import pandas  # noqa: F401
import plotly.graph_objects as go
import streamlit as st

from pages.components.csv_file import csv_of
from pages.components.text import language, t

MOST_POINTS = 1_500
FEWEST_POINTS = 30
# Legible on white and on black.
COLOURS = ("#3f7fe0", "#e08a3c", "#3aa17e", "#a66bd4", "#d65f6f", "#2aa5b8", "#b3912c", "#8a8f98")
FAINT = "#a9bfe3"
# Above a chart there is room for Plotly's buttons and a legend of two lines, which it has on a phone.
_TOP, _BOTTOM, _BETWEEN = 82, 44, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line, with a gap where `y` is None or NaN.

    `faint` lines are drawn behind the others; a `marker` (one of Plotly's symbols) draws points only, `joined` adds the
    line through them; `weight` is its share of the figure's points relative to the others.
    """

    name: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float | None] | np.ndarray
    faint: bool = False
    marker: str | None = None
    joined: bool = False
    size: int = 8
    colour: str | None = None
    weight: float = 1.0
    legend: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines over one vertical axis.

    `height` is in pixels; `log` is a logarithmic scale; `span` fixes minimum and maximum; `zero` begins the axis at 0.
    """

    title: str
    lines: Sequence[Line]
    height: int = 250
    log: bool = False
    span: tuple[float, float] | None = None
    zero: bool = False


def thinned(
    x: Sequence[float] | np.ndarray, y: Sequence[float | None] | np.ndarray, most: int = MOST_POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """Reduce a series to at most `most` points, keeping peaks and gaps: the minimum and maximum of each bucket.

    The width of a bucket is a power of two, counted from the first point, so that points do not move while the series
    grows. A gap replaces the minimum of its bucket.
    """
    xs = np.asarray(x, dtype=np.float32)
    ys = y.astype(np.float32) if isinstance(y, np.ndarray) else np.array([np.nan if v is None else v for v in y], "f4")
    if len(ys) <= most:
        return xs, ys
    width = 1
    while 2 * -(-len(ys) // width) > most and width < len(ys):
        width *= 2
    starts = np.arange(0, len(ys), width)
    grid = np.full((len(starts), width), np.nan, dtype=np.float32)
    grid.ravel()[: len(ys)] = ys
    empty = np.isnan(grid)
    gaps = empty.copy()
    gaps.ravel()[len(ys) :] = False
    least, greatest = np.where(empty, np.inf, grid).argmin(1), np.where(empty, -np.inf, grid).argmax(1)
    first_gap, has_gap = gaps.argmax(1), gaps.any(1)
    least = np.where(has_gap, first_gap, least)
    greatest = np.where(empty.all(1), first_gap, greatest)
    kept = np.unique(np.concatenate([starts + least, starts + greatest]))
    return xs[kept], ys[kept]


def figure(lines: Sequence[Line], x_title: str, y_title: str, *, log: bool = False, height: int = 320) -> "Drawn":
    """Return a figure of lines over one axis, `height` pixels high."""
    return stacked([Panel(title=y_title, lines=lines, log=log, height=height - _TOP - _BOTTOM)], x_title)


def stacked(panels: Sequence[Panel], x_title: str, *, span: tuple[float, float] | None = None) -> "Drawn":
    """Return panels stacked on a shared horizontal axis, with a common zoom and common values under the pointer.

    `span` fixes the ends of that axis.
    """
    weights = sum(line.weight for panel in panels for line in panel.lines) or 1.0
    height = sum(panel.height for panel in panels) + _BETWEEN * (len(panels) - 1)
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    titles: list[dict[str, Any]] = []
    top, colours_of = height, {}
    for number, panel in enumerate(panels, 1):
        axis = f"y{number}" if number > 1 else "y"
        colours = cycle(COLOURS)
        for line in panel.lines:
            most = max(FEWEST_POINTS, int(MOST_POINTS * line.weight / weights))
            x, y = (
                (np.asarray(line.x, "f4"), np.asarray(line.y, "f4")) if line.marker else thinned(line.x, line.y, most)
            )
            colour = line.colour or (FAINT if line.faint else colours_of.setdefault(line.name, next(colours)))
            look: dict[str, Any] = {"mode": "lines", "line": {"width": 1.2 if line.faint else 2, "color": colour}}
            if line.marker:
                look |= {
                    "mode": "lines+markers" if line.joined else "markers",
                    "marker": {"symbol": line.marker, "size": line.size, "color": colour},
                }
            traces.append(
                {
                    "type": "scatter",
                    "x": x,
                    "y": y,
                    # Plotly would interpret markup.
                    "name": html.escape(line.name, quote=False),
                    "yaxis": axis,
                    "legendgroup": line.name,
                    # A name shared by several panels appears in the legend once, for all of them.
                    "showlegend": line.legend and all(line.name != trace["legendgroup"] for trace in traces),
                    "connectgaps": False,
                    **look,
                }
            )
        layout["yaxis" + axis[1:]] = {
            "domain": [max(0.0, (top - panel.height) / height), top / height],
            "type": "log" if panel.log else "linear",
            "hoverformat": ".4~g",
            "exponentformat": "e",
            "rangemode": "tozero" if panel.zero else "normal",
            "nticks": max(3, panel.height // 40),
            **({"range": list(panel.span)} if panel.span else {}),
        }
        titles.append(
            {
                "text": panel.title,
                "xref": "paper",
                "yref": "paper",
                "x": 0,
                "y": top / height,
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 13},
            }
        )
        top -= panel.height + _BETWEEN
    layout |= {
        "height": height + _TOP + _BOTTOM,
        "margin": {"l": 56, "r": 14, "t": _TOP, "b": _BOTTOM},
        "xaxis": {
            "title": {"text": x_title},
            "anchor": f"y{len(panels)}" if len(panels) > 1 else "y",
            **({"range": list(span)} if span else {}),
        },
        "annotations": titles,
        "legend": {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 1, "xanchor": "right", "yref": "paper"},
        "hovermode": "x unified",
        "hoversubplots": "axis",
        # Keep the zoom as long as the figure is the same.
        "uirevision": "same",
    }
    # Everything was written above; Plotly's validation of each property would take longer than the rest.
    return Drawn(traces, layout)


class Drawn(go.Figure):
    """An immutable figure that provides what Streamlit asks for at every refresh as plain values.

    Plotly itself would search the entire figure for arrays each time, and build an object of every trace and axis; that
    is done only for who asks for them.
    """

    def __init__(self, traces: list[dict[str, Any]], layout: dict[str, Any]) -> None:
        super().__init__()
        plain = [{**trace, "x": _base64(trace["x"]), "y": _base64(trace["y"])} for trace in traces]
        self._told = {"data": plain, "layout": layout}
        self._parts = {"data": traces, "layout": layout}

    def whole(self) -> go.Figure:
        """Return the figure as Plotly's own objects."""
        return go.Figure(self._parts, _validate=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the figure as plain values, its numbers in base64."""
        return self._told


def _base64(numbers: np.ndarray) -> dict[str, str]:
    """Encode float32 numbers for Plotly's scripts."""
    return {"dtype": "f4", "bdata": base64.b64encode(numbers).decode("ascii")}


def show_chart(
    key: str,
    signature: Hashable,
    make: Callable[[], go.Figure],
    alt: str,
    *,
    file: str | None = None,
    table: Callable[[], str] | None = None,
) -> None:
    """Draw a figure; it is rebuilt only if `signature` has changed, otherwise the browser keeps its state.

    The chart's own button saves it as `file`.png, the one below as `file`.csv: the data shown, or the text of `table`,
    which is called when the user clicks and must not use widgets.
    """
    known = st.session_state.get(f"chart-{key}")
    signature = (signature, language())
    if known is None or known[0] != signature:
        known = (signature, make())
        st.session_state[f"chart-{key}"] = known
    shown: go.Figure = known[1]
    name = file or key
    with st.container(gap="xsmall"):
        st.plotly_chart(shown, key=f"plot-{key}", config=_config(name), alt=alt)
        st.download_button(
            t("charts.csv"),
            data=table or (lambda: csv_of(shown.whole() if isinstance(shown, Drawn) else shown)),
            file_name=f"{name}.csv",
            mime="text/csv",
            key=f"csv-{key}",
            type="tertiary",
            icon=":material/download:",
            on_click="ignore",
        )


def _config(file: str) -> dict[str, Any]:
    """Return Plotly's options: a few useful buttons, always visible, in the user's language; the image's file name."""
    return {
        "displaylogo": False,
        "displayModeBar": True,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
        "toImageButtonOptions": {"format": "png", "filename": file, "scale": 2},
        "locale": "studio",
        "locales": {
            "studio": {
                "dictionary": {
                    "Download plot as a PNG": t("charts.png"),
                    "Zoom": t("charts.zoom"),
                    "Pan": t("charts.pan"),
                    "Reset axes": t("charts.reset"),
                    "Preparing image - this may take a few seconds": t("charts.preparing"),
                    "Image download succeeded": t("charts.prepared"),
                    "Sorry, there was a problem downloading your image!": t("charts.no_picture"),
                    "Double-click to zoom back out": t("charts.back_out"),
                    "Double-click on legend to isolate one trace": t("charts.isolate"),
                },
                "format": {},
            }
        },
    }
