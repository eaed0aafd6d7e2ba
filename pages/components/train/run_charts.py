"""The curves of a run: loss, learning rate, gradients, speed, identity, machine; over iterations or time.

The user chooses the panels, the smoothing, and whether the chart is live.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from core.chat.score import identity_share
from core.training.curves import average
from core.training.run import Run
from core.training.watch import Seen
from pages.components.charts import Line, Panel, show_chart, stacked
from pages.components.csv_file import csv_text
from pages.components.text import t
from pages.components.train.machine_charts import gpu_panels, host_panels

TRAINING = ("lr", "grad_norm", "pace", "tokens", "identity")
HOST = ("cpu", "memory", "disk")
GPU = ("gpu_load", "gpu_memory", "gpu_temperature", "gpu_power")
# In addition to the loss, until the user chooses others.
USUAL = ("identity",)
_SMALL = 84
# New points that are a smaller share than this move nothing by a pixel.
_PIXELS = 1_000
_MOST_MARKS = 100
# Share of a figure's points: smooth lines need few.
_WEIGHTS = {"lr": 0.5, "identity": 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How the user wants it drawn. `part` is the share of the axis to show, in percent."""

    axis: str
    weight: float
    log: bool
    panels: tuple[str, ...]
    part: tuple[int, int]


def show_curves(run: Run, seen: Seen, tokens_per_iter: float | None, live: bool) -> None:
    """Draw the figure, with the controls below."""
    place = st.container()
    view, moves = _controls(run, seen, live)
    shown = _held(run, seen, moves)
    if not len(shown.history["iter"]) and not len(shown.machine["seconds"]):
        place.container(height=260, border=False).info(
            t("curves.none" if live else "curves.never"), icon=":material/info:"
        )
        return
    checkpoints = [found.iter for found in run.checkpoints()]
    signature = (
        run.id,
        view,
        _pixel(len(shown.history["iter"])),
        _pixel(len(shown.machine["seconds"])),
        len(shown.answers),
        tuple(checkpoints) if moves else None,
        tokens_per_iter,
    )
    drawn = _Drawing(run=run, seen=shown, view=view, tokens=tokens_per_iter, checkpoints=checkpoints)
    header = [t(f"curves.{name}") for name in ("iteration", "minutes", "loss", "smoothed", "lr", "grad_norm", "pace")]
    with place:
        show_chart(
            "curves",
            signature,
            drawn.figure,
            t("curves.alt"),
            file=f"{run.id}-curves",
            table=lambda: _table(header, shown, view.weight),
        )


def _controls(run: Run, seen: Seen, live: bool) -> tuple[View, bool]:
    """Choose what to draw and how, in a popover, and whether the chart is live."""
    gpu = bool(seen.sample.get("gpus"))
    offered = [name for name in (*TRAINING, *(GPU if gpu else ()), *HOST) if name != "identity" or run.nickname]
    panels = f"curves_panels-{gpu}-{bool(run.nickname)}"
    with st.container(horizontal=True, vertical_alignment="center"):
        lid = st.popover(
            t("curves.settings"), icon=":material/tune:", type="tertiary", key="curves_open", on_change="rerun"
        )
        moves = not live or st.toggle(
            t("curves.live"), value=True, key="curves_live", persist_state="session", help=t("curves.live_help")
        )
    if lid.open:
        # Five widgets take a quarter of a refresh.
        with lid:
            _settings(offered, panels)
    held = st.session_state
    chosen = held.get(panels, USUAL)
    view = View(
        axis=held.get("curves_axis", "iteration"),
        weight=held.get("curves_smoothing", 0.8),
        log=held.get("curves_log", False),
        panels=tuple(name for name in offered if name in chosen),
        part=held.get("curves_part", (0, 100)),
    )
    return view, bool(moves)


def _settings(offered: Sequence[str], panels: str) -> None:
    """Draw the widgets of a view, whose values stay in the session; `panels` is the key of the panels' choice."""
    st.segmented_control(
        t("curves.axis"),
        ("iteration", "time"),
        format_func=lambda name: t(f"curves.axis_{name}"),
        default="iteration",
        required=True,
        key="curves_axis",
        persist_state="session",
    )
    st.pills(
        t("curves.panels"),
        offered,
        selection_mode="multi",
        default=[name for name in offered if name in USUAL],
        format_func=lambda name: t(f"curves.{name}"),
        key=panels,
        persist_state="session",
    )
    st.slider(
        t("curves.smoothing"),
        0.0,
        0.99,
        0.8,
        0.01,
        key="curves_smoothing",
        persist_state="session",
        help=t("curves.ema"),
    )
    st.slider(t("curves.part"), 0, 100, (0, 100), 1, format="%d%%", key="curves_part", persist_state="session")
    st.toggle(t("curves.log"), key="curves_log", persist_state="session")


def _held(run: Run, seen: Seen, moves: bool) -> Seen:
    """Return the data to draw: the newest, or what there was when the user froze the chart."""
    if moves:
        st.session_state.pop("curves_held", None)
        return seen
    held = st.session_state.setdefault("curves_held", (run.id, seen))
    if held[0] != run.id:
        held = st.session_state["curves_held"] = (run.id, seen)
    new = len(seen.history["iter"]) - len(held[1].history["iter"])
    st.caption(t("curves.held", count=max(0, new)))
    return held[1]


def _pixel(count: int) -> int:
    """Return a number that changes when enough is new to be visible."""
    return count // (1 << max(0, int(math.log2(count / _PIXELS)))) if count > _PIXELS else count


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    run: Run
    seen: Seen
    view: View
    tokens: float | None
    checkpoints: list[int]

    def figure(self) -> Any:
        times = self.view.axis == "time"
        history, machine = self.seen.history, self.seen.machine
        end = (
            max(self.seen.seconds, *self.seen.history_seconds[-1:])
            if times
            else float(history["iter"][-1])
            if len(history["iter"])
            else 1.0
        )
        one, title = (1.0, t("curves.iteration")) if not times else _unit(end)
        x = self.seen.history_seconds / one if times else history["iter"]
        beside = machine["seconds"] / one if times else self.seen.machine_iterations
        begin, until = (share / 100 * end / one for share in self.view.part)
        here, there = _within(x, begin, until), _within(beside, begin, until)
        panels = [self._loss(x, here)]
        for name in self.view.panels:
            if name in TRAINING:
                panels.append(self._training(name, x, here))
            elif name in HOST:
                panels.append(host_panels(self.seen, name, beside, there, _SMALL))
            else:
                panels.append(gpu_panels(self.seen, name, beside, there, _SMALL))
        return stacked(panels, title, span=(begin, until) if until > begin else None)

    def _loss(self, x: np.ndarray, here: slice) -> Panel:
        loss, smooth = self.seen.history["loss"], average(self.seen.history["loss"], self.view.weight)
        lines = [
            Line(name=t("curves.raw"), x=x[here], y=loss[here], faint=True, weight=6),
            Line(name=t("curves.smoothed"), x=x[here], y=smooth[here], weight=3),
            *self._marks(x, smooth, here),
        ]
        return Panel(title=t("curves.loss"), lines=lines, height=190, log=self.view.log)

    def _marks(self, x: np.ndarray, smooth: np.ndarray, here: slice) -> Iterator[Line]:
        """Yield markers on the smoothed line where the model was asked, and where it was saved."""
        known = here.start + np.flatnonzero(np.isfinite(smooth[here]))
        if not len(known):
            return
        iters = self.seen.history["iter"][known]
        for name, symbol, size, colour, asked in (
            ("evaluation", "diamond", 7, "#3aa17e", [at.iter for at in self.seen.answers]),
            ("checkpoint", "triangle-down-open", 12, "#a66bd4", self.checkpoints),
        ):
            inside = [at for at in asked if iters[0] - 1 <= at <= iters[-1]]
            inside = inside[:: len(inside) // _MOST_MARKS + 1]
            places = known[np.minimum(np.searchsorted(iters, inside), len(known) - 1)] if inside else []
            if len(places):
                yield Line(
                    name=t(f"curves.{name}"),
                    x=x[places],
                    y=smooth[places],
                    marker=symbol,
                    size=size,
                    colour=colour,
                    weight=0,
                )

    def _training(self, name: str, x: np.ndarray, here: slice) -> Panel:
        title, span = t(f"curves.{name}"), None
        if name == "identity":
            asked = np.array([at.iter for at in self.seen.answers], dtype=float)
            values = np.array([100 * (identity_share(at.answers, self.run.nickname) or 0) for at in self.seen.answers])
            # Answers before the first iteration are placed at the beginning.
            x = np.interp(asked, self.seen.history["iter"], x) if len(x) and self.view.axis == "time" else asked
            here, span = slice(None), (-5, 105)
        elif name == "tokens":
            values = (self.tokens or math.nan) / self.seen.history["time"]
        else:
            values = self.seen.history["time" if name == "pace" else name]
        if not np.isfinite(values).any():
            title = t("curves.not_told", what=title)
        line = Line(name=t(f"curves.{name}"), x=x[here], y=values[here], legend=False, weight=_WEIGHTS.get(name, 2))
        return Panel(title=title, lines=[line], height=_SMALL, span=span, zero=True)


def _within(x: np.ndarray, begin: float, until: float) -> slice:
    """Return the slice, which copies nothing, where increasing `x` is within both bounds; `x` may begin with NaN."""
    unknown = int(np.isnan(x).sum())
    known = x[unknown:]
    return slice(
        unknown + int(np.searchsorted(known, begin)), unknown + int(np.searchsorted(known, until, side="right"))
    )


def _unit(seconds: float) -> tuple[float, str]:
    """Return the unit as seconds and as axis title: minutes, or hours for long runs."""
    return (3600.0, t("curves.hours")) if seconds > 3 * 3600 else (60.0, t("curves.minutes"))


def _table(header: list[str], seen: Seen, weight: float) -> str:
    """Return the entire history as CSV."""
    columns = seen.history
    names = ("iter", "seconds", "loss", "smooth", "lr", "grad_norm", "time")
    found = {**columns, "seconds": np.round(seen.history_seconds / 60, 4), "smooth": average(columns["loss"], weight)}
    return csv_text(header, zip(*(found[name].tolist() for name in names), strict=True))
