"""All runs of the workspace at a glance, a comparison of several, and the trash."""

from typing import Any

import streamlit as st

from core.ground.figures import NONE, duration, moment, number, size_of_mb
from core.ground.workspace import Workspace
from core.training import run as runs
from core.training.comparison import Comparison, compare
from core.training.curves import average
from core.training.metrics import glance
from core.training.run import Run
from core.training.shelf import trash
from core.training.shown import titles
from pages.components.charts import Line, figure, show_chart
from pages.components.plain import plain
from pages.components.problems import refusals
from pages.components.text import say, t
from pages.components.train.monitor import watch
from pages.components.train.shelf import show_trash

MOST_COMPARED = 8
_NUMBERS = {
    "loss": ".4f",
    "loss_smoothed": ".4f",
    "loss_least": ".4f",
    "seconds_per_iter": ".3f",
    "tokens_per_s": ",.0f",
}


def show_runs(workspace: Workspace) -> None:
    """Draw the list, the comparison and the trash in an expander, only when it is open; nothing without runs."""
    if not (st.session_state.get("runs_open") or runs.every(workspace) or trash(workspace)):
        return
    lid = st.expander(t("runs.title"), icon=":material/list:", key="runs_open", on_change="rerun")
    if not lid.open:
        return
    with lid:
        found = runs.every(workspace)
        if found:
            _show_list(found)
        _show_comparison(found)
        show_trash(workspace)


def _show_list(found: list[Run]) -> None:
    st.dataframe(
        [_row(run, name) for run, name in zip(found, _names(found), strict=True)],
        hide_index=True,
        column_config={t("runs.curve"): st.column_config.LineChartColumn(t("runs.curve"), color="blue")},
        key="runs_table",
        alt=t("runs.title"),
    )


def _row(run: Run, name: str) -> dict[str, Any]:
    losses = glance(run.work_dir)
    state = run.state_at({"iter": 0, "loss": losses[-1] if losses else None})
    return {
        t("runs.name"): name,
        t("runs.status"): t(f"train.status.{state.status}"),
        t("runs.config"): run.facts.config.name,
        t("runs.loss"): number(losses[-1] if losses else None, ".4f"),
        t("runs.curve"): losses,
        t("runs.iterations"): f"{state.iter} / {state.max_iters or '?'}",
        t("runs.duration"): say(duration(state.seconds)),
        t("runs.started"): moment(run.facts.created),
        t("runs.id"): run.id,
    }


def _show_comparison(found: list[Run]) -> None:
    if len(found) < 2:
        return
    by_id = {run.id: run for run in found}
    names = dict(zip(by_id, _names(found), strict=True))
    kept = [run for run in st.session_state.get("runs_compared", []) if run in by_id]
    if kept != st.session_state.get("runs_compared", []):
        # One of them has been deleted in the meantime.
        st.session_state["runs_compared"] = kept
    chosen = st.multiselect(
        t("runs.compare"),
        list(by_id),
        key="runs_compared",
        max_selections=MOST_COMPARED,
        format_func=names.get,
        placeholder=t("runs.choose"),
        persist_state="session",
    )
    if len(chosen) < 2:
        st.caption(t("runs.compare_help"))
        return
    with refusals():
        together = [by_id[run] for run in chosen]
        _draw(
            together,
            [names[run] for run in chosen],
            _compared(tuple(chosen), tuple(_stamp(run) for run in together), together),
        )


def _draw(chosen: list[Run], names: list[str], found: Comparison) -> None:
    def overlaid() -> Any:
        lines = []
        for name, run in zip(names, chosen, strict=True):
            history = watch(str(run.path), run).look().history
            lines.append(Line(name=name, x=history["iter"], y=average(history["loss"], weight)))
        return figure(lines, t("curves.iteration"), t("curves.loss"), log=log, height=380)

    left, right = st.columns([3, 1], vertical_alignment="bottom")
    weight = left.slider(
        t("curves.smoothing"),
        0.0,
        0.99,
        0.8,
        0.01,
        key="compare_smoothing",
        persist_state="session",
        help=t("curves.ema"),
    )
    log = right.toggle(t("curves.log"), key="compare_log", persist_state="session")
    signature = (tuple(run.id for run in chosen), tuple(names), tuple(_stamp(run) for run in chosen), log, weight)
    show_chart("compare", signature, overlaid, t("runs.compare_alt"), file="runs-loss")
    columns = {name: plain(name) for name in names}
    st.table(
        [
            {
                t("runs.fact"): t(f"runs.{fact}"),
                **{columns[name]: _told(fact, facts[fact]) for name, facts in zip(names, found.facts, strict=True)},
            }
            for fact in found.facts[0]
            if fact not in ("run", "name")
        ],
        hide_index=True,
        border="horizontal",
    )
    st.markdown(f"**{t('runs.settings')}**")
    if found.settings:
        st.table(
            [
                {
                    t("runs.setting"): plain(setting),
                    **{columns[name]: plain(str(value)) for name, value in zip(names, values, strict=True)},
                }
                for setting, values in found.settings.items()
            ],
            hide_index=True,
            border="horizontal",
        )
    else:
        st.caption(t("runs.same_settings"))
    called = dict(zip((run.id for run in chosen), names, strict=True))
    for run, diff in found.diffs.items():
        with st.expander(t("runs.diff", one=plain(names[0]), other=plain(called[run])), icon=":material/difference:"):
            st.code(diff or t("runs.same_config"), language="diff")


@st.cache_data(show_spinner=False, max_entries=16)
def _compared(ids: tuple[str, ...], stamps: tuple[Any, ...], _chosen: list[Run]) -> Comparison:  # noqa: ARG001
    return compare(_chosen)


def _stamp(run: Run) -> tuple[Any, ...]:
    """Return a value that changes when there is something new about a run."""
    files = [
        *run.work_dir.glob("*/vis_data/scalars.json"),
        *run.jobs.glob("*/exit.json"),
        run.config,
        run.path / "label.json",
    ]
    return tuple((file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists())


def _names(chosen: list[Run]) -> list[str]:
    """Return the name that each run has where one is chosen."""
    called = titles(chosen)
    return [say(called[run.id]) for run in chosen]


def _told(fact: str, value: Any) -> str:
    if value is None:
        return NONE
    if fact == "seconds":
        return say(duration(value))
    if fact == "gpu_mb":
        return size_of_mb(value)
    if fact == "status":
        return t(f"train.status.{value}")
    return format(value, _NUMBERS[fact]) if fact in _NUMBERS else plain(str(value))
