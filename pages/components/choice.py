"""Selects one of the user's things (a run, a config, …): the same selection on every page, and in the URL."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.training import run as runs
from core.training.run import Run
from core.training.shown import foremost, titles, worth_a_look
from pages.components.text import say, t

_RUN, _ADDRESS = "run", "run_in_the_address"

COLOURS = {
    Status.FINISHED: "green",
    Status.RUNNING: "blue",
    Status.PENDING: "blue",
    Status.KILLED: "orange",
    Status.FAILED: "red",
    Status.CRASHED: "red",
}


def choose(what: str, names: Sequence[str]) -> str | None:
    """Return the selected one of `names`; the first one if there is no selection or it no longer exists."""
    wanted = st.session_state.pop(f"select-{what}", None)
    if wanted in names:
        st.session_state[what] = wanted
    elif what in st.session_state and st.session_state[what] not in names:
        del st.session_state[what]
    return st.selectbox(t(f"choice.{what}"), names, key=what, bind="query-params", persist_state="session")


def select(what: str, name: str) -> None:
    """Select `name` the next time the choice is drawn."""
    st.session_state[f"select-{what}"] = name


def choose_run(workspace: Workspace, beside: Callable[[Run], None] | None = None) -> Run | None:
    """Choose a run, with its status and whatever `beside` draws next to it; None if there is none yet.

    The default is the run in the URL or selected by the user, else the one that matters now. The URL contains its id,
    which does not change when the run is renamed, but only if it is not the default.
    """
    every = {run.id: run for run in runs.every(workspace)}
    wanted = _wanted(every)
    found = {run.id: run for run in every.values() if run.id == wanted or worth_a_look(run)}
    usual = foremost(workspace, list(found.values()))
    if usual is None:
        return None
    if wanted or st.session_state.get(_RUN) not in found:
        st.session_state[_RUN] = wanted or usual.id
    names = titles(list(found.values()))
    left, right = st.columns([3, 2], vertical_alignment="center")
    chosen = left.selectbox(
        t("choice.run"),
        list(found),
        format_func=lambda run_id: say(names[run_id]),
        key=_RUN,
        persist_state="session",
        label_visibility="collapsed",
    )
    run = found[chosen]
    st.session_state[_ADDRESS] = None if run.id == usual.id else run.id
    if run.id != usual.id:
        st.query_params[_RUN] = run.id
    elif _RUN in st.query_params:
        del st.query_params[_RUN]
    with right, st.container(horizontal=True, vertical_alignment="center"):
        show_status(run.state_at(None).status)
        if beside:
            beside(run)
    return run


def _wanted(every: Mapping[str, Run]) -> str | None:
    """Return the run just requested, by a click or by a URL that differs from the last one, if it exists."""
    asked = st.query_params.get(_RUN)
    wanted = st.session_state.pop(f"select-{_RUN}", None) or (
        asked if asked != st.session_state.get(_ADDRESS) else None
    )
    return wanted if wanted in every else None


def show_status(status: Status) -> None:
    """Draw a badge with the status as text."""
    st.badge(t(f"train.status.{status}"), color=COLOURS[status])
