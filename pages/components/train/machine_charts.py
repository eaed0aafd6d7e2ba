"""The machine during a run: panels for the run's chart, and the newest sample in words.

States for each value that it is not reported if nobody reports it, and for a slice of a GPU whose numbers are shown.
"""

from typing import Any

import numpy as np
import streamlit as st

from core.ground.figures import MB_OF_A_GB, NONE, share, size_of_mb
from core.training.run import Run
from core.training.watch import Seen
from pages.components.charts import Line, Panel
from pages.components.csv_file import csv_text
from pages.components.plain import plain
from pages.components.text import t

_OF_CARD = {
    "gpu_load": ("utilisation", 1.0),
    "gpu_memory": ("used_mb", MB_OF_A_GB),
    "gpu_temperature": ("temperature", 1.0),
    "gpu_power": ("power_w", 1.0),
}
# A CUDA process that sees less than this share of the GPU has a slice of it.
_WHOLE = 0.9


def host_panels(seen: Seen, name: str, x: np.ndarray, here: slice, height: int) -> Panel:
    """Return the panel for CPU, memory or disk of the host and of the run's own processes."""
    of = seen.machine
    lines = {
        # In `process_cpu` one core is 100; converted to a share of the machine for comparison.
        "cpu": [("host", "cpu", 1.0), ("run", "process_cpu", float(seen.sample.get("cores") or 1))],
        "memory": [("host", "memory_mb", MB_OF_A_GB), ("run", "process_mb", MB_OF_A_GB)],
        "disk": [("free", "disk_free_mb", MB_OF_A_GB)],
    }[name]
    drawn = [
        Line(name=t(f"machine.{who}"), x=x[here], y=of[column][here] / one, legend=len(lines) > 1, weight=0.7)
        for who, column, one in lines
        if column in of and here.stop > here.start
    ]
    return _panel(t(f"curves.{name}"), drawn, height, (-3, 103) if name == "cpu" else None)


def gpu_panels(seen: Seen, name: str, x: np.ndarray, here: slice, height: int) -> Panel:
    """Return the panel for one quantity of every GPU that the run may use."""
    column, one = _OF_CARD[name]
    of, lines, silent = seen.machine, [], []
    for place, card in enumerate(seen.sample.get("gpus") or []):
        values = of.get(f"gpu{place}.{column}")
        if values is None or not here.stop > here.start:
            silent.append(label(card))
            continue
        lines.append(Line(name=label(card), x=x[here], y=values[here] / one))
    if name == "gpu_memory":
        lines += [
            Line(name=t(f"machine.{who}"), x=x[here], y=of[key][here] / one)
            for who, key in (("cuda", "cuda.used_mb"), ("slice", "slice0.used_mb"))
            if key in of
        ]
    if name == "gpu_load" and "slice0.utilisation" in of:
        lines.append(Line(name=t("machine.slice"), x=x[here], y=of["slice0.utilisation"][here]))
    title = t(f"curves.{name}")
    if silent:
        title += " · " + t("machine.not_reported", cards=", ".join(silent))
    return _panel(title, lines, height, (-3, 103) if name == "gpu_load" else None)


def _panel(title: str, lines: list[Line], height: int, span: tuple[float, float] | None) -> Panel:
    if not lines:
        return Panel(
            title=t("curves.not_told", what=title), lines=[Line(name=title, x=[], y=[], legend=False)], height=height
        )
    return Panel(title=title, lines=lines, height=height, span=span, zero=True)


def label(card: dict[str, Any]) -> str:
    """Return `GPU 0`, or `GPU 0 MIG 1` for an instance."""
    return f"GPU {card['index']}" + (f" MIG {card['instance']}" if card.get("instance") is not None else "")


def show_machine(run: Run, seen: Seen) -> None:
    """Draw the newest sample: every GPU, the host, the run's own processes, and what is not available here."""
    sample = seen.sample
    if not sample:
        st.caption(t("machine.none"))
        return
    cards = sample.get("gpus") or []
    if cards:
        st.table([_card(card) for card in cards], hide_index=True, border="horizontal")
    for note in notes(sample):
        st.caption(note)
    total, used, free = (sample.get(name) for name in ("memory_total_mb", "memory_mb", "disk_free_mb"))
    st.caption(
        t(
            "machine.host_now",
            cpu=_percent(sample.get("cpu")),
            used=size_of_mb(used),
            total=size_of_mb(total),
            free=size_of_mb(free),
            disk=size_of_mb(sample.get("disk_total_mb")),
        )
    )
    processes = sample.get("processes") or []
    if processes:
        st.table(
            [
                {
                    t("machine.pid"): str(process["pid"]),
                    t("machine.cpu"): _percent(process["cpu"]),
                    t("machine.memory"): size_of_mb(process["mb"]),
                    t("machine.gpu_memory"): size_of_mb(process["gpu_mb"]) if cards else NONE,
                }
                for process in processes
            ],
            hide_index=True,
            border="horizontal",
        )
    names = list(seen.machine)
    st.download_button(
        t("machine.csv"),
        data=lambda: csv_text(names, zip(*(seen.machine[name].tolist() for name in names), strict=True)),
        file_name=f"{run.id}-machine.csv",
        mime="text/csv",
        key="csv-machine",
        type="tertiary",
        icon=":material/download:",
        on_click="ignore",
    )


def notes(sample: dict[str, Any]) -> list[str]:
    """Return notes on these numbers: no GPU, a slice of one, an instance of one."""
    cards, found = sample.get("gpus") or [], []
    if not cards:
        found.append(t("machine.no_gpu"))
    if any(card.get("slice") == "mig" for card in cards):
        found.append(t("machine.mig"))
    cuda, slices = sample.get("cuda") or {}, sample.get("slices") or []
    whole = next((card["total_mb"] for card in cards if card["index"] == cuda.get("index")), None)
    if slices:
        of = slices[0]
        found.append(
            t(
                "machine.vgpu_smi",
                used=size_of_mb(of["used_mb"]),
                total=size_of_mb(of["total_mb"]),
                share=_percent(of["share"]),
            )
        )
    elif cuda and whole and cuda["total_mb"] < _WHOLE * whole:
        found.append(t("machine.vgpu", total=size_of_mb(cuda["total_mb"]), whole=size_of_mb(whole)))
    elif any(card.get("slice") == "vgpu" for card in cards):
        found.append(t("machine.guest"))
    if cuda:
        found.append(
            t(
                "machine.cuda_now",
                used=size_of_mb(cuda["used_mb"]),
                total=size_of_mb(cuda["total_mb"]),
                peak=size_of_mb(cuda.get("peak_mb")),
            )
        )
    return found


def _card(card: dict[str, Any]) -> dict[str, str]:
    silent = t("machine.silent")

    def told(value: float | None, unit: str) -> str:
        return silent if value is None else f"{value:.0f} {unit}"

    memory = silent if card["used_mb"] is None else f"{size_of_mb(card['used_mb'])} / {size_of_mb(card['total_mb'])}"
    return {
        "GPU": plain(f"{label(card)} {card['name'] or ''}"),
        t("machine.load"): silent if card["utilisation"] is None else _percent(card["utilisation"]),
        t("machine.gpu_memory"): memory,
        t("machine.ours"): silent if card.get("ours_mb") is None else size_of_mb(card["ours_mb"]),
        t("machine.temperature"): told(card["temperature"], "°C"),
        t("machine.power"): told(card["power_w"], "W"),
    }


def _percent(value: float | None) -> str:
    return NONE if value is None else share(value / 100)
