"""The loss of a run, raw and smoothed, and what the run took of the machine. Reads on where it left off."""

import json
from typing import Any

import streamlit as st

from core.ground.files import read_lines_from
from core.training.metrics import Point, smoothed
from core.training.run import Run
from pages.components.charts import Line, figure, show_chart
from pages.components.text import language, t


def points_of(run: Run) -> list[Point]:
    """The loss history so far. One reader a run and tab, which reads only what is new."""
    return st.session_state.setdefault(f"metrics-{run.path}", run.metrics()).read()


def show_loss(run: Run, points: list[Point]) -> None:
    """The chart with its smoothing and its scale."""
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    weight = left.slider(t("loss.smoothing"), 0.0, 0.99, 0.8, 0.01, key="loss_smoothing", persist_state="session")
    log = right.toggle(t("loss.log"), key="loss_log", persist_state="session")
    if not points:
        st.info(t("loss.none"), icon=":material/hourglass_empty:")
        return

    def make() -> Any:
        steps, losses = [point["iter"] for point in points], [point["loss"] for point in points]
        lines = [
            Line(name=t("loss.raw"), x=steps, y=losses, faint=True),
            Line(name=t("loss.smoothed"), x=steps, y=smoothed(losses, weight)),
        ]
        return figure(lines, t("loss.iteration"), t("loss.loss"), log=log)

    signature = (run.id, len(points), points[-1]["iter"], weight, log, language())
    show_chart("loss", signature, make, t("loss.alt"))
    if any(point["loss"] is None for point in points):
        st.warning(t("loss.gap"), icon=":material/warning:")


def show_machine(run: Run) -> None:
    """Memory and load of the run over its minutes: its processes, and each GPU where there are any."""
    samples = _samples(run)
    if len(samples) < 2:
        return
    minutes = [(sample["t"] - samples[0]["t"]) / 60 for sample in samples]
    cards = range(len(samples[-1]["gpus"]))

    def of_card(number: int, what: str) -> list[float | None]:
        return [s["gpus"][number][what] if number < len(s["gpus"]) else None for s in samples]

    def memory() -> Any:
        lines = [Line(name=t("machine_chart.process"), x=minutes, y=[s["process_mb"] / 1024 for s in samples])]
        for card in cards:
            used = [None if mb is None else mb / 1024 for mb in of_card(card, "used_mb")]
            lines.append(Line(name=f"GPU {card}", x=minutes, y=used))
        return figure(lines, t("machine_chart.minutes"), t("machine_chart.memory"), height=230)

    def load() -> Any:
        lines = [Line(name=t("machine_chart.processor"), x=minutes, y=[s["cpu"] for s in samples])]
        lines += [Line(name=f"GPU {card}", x=minutes, y=of_card(card, "utilisation")) for card in cards]
        return figure(lines, t("machine_chart.minutes"), t("machine_chart.load"), height=230)

    signature = (run.id, len(samples), language())
    left, right = st.columns(2)
    with left:
        show_chart("memory", signature, memory, t("machine_chart.memory"))
    with right:
        show_chart("load", signature, load, t("machine_chart.load"))


def _samples(run: Run) -> list[dict[str, Any]]:
    """The run's telemetry, read on from where the last look ended."""
    known = st.session_state.setdefault(f"telemetry-{run.path}", {"offset": 0, "samples": []})
    lines, known["offset"] = read_lines_from(run.telemetry, known["offset"])
    known["samples"] += map(json.loads, lines)
    return known["samples"]
