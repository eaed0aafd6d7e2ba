"""Choosing one of the user's things (a run, a config, …): the same choice on every page, and in the URL."""

from collections.abc import Callable, Sequence

import streamlit as st

from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.training import run as runs
from core.training.run import Run
from core.training.shelf import name_of
from pages.components.plain import plain
from pages.components.text import t

COLOURS = {
    Status.FINISHED: "green",
    Status.RUNNING: "blue",
    Status.PENDING: "blue",
    Status.KILLED: "orange",
    Status.FAILED: "red",
    Status.CRASHED: "red",
}


def choose(what: str, names: Sequence[str]) -> str | None:
    """The chosen one of `names`; the first if none was chosen, or what was chosen is gone."""
    wanted = st.session_state.pop(f"select-{what}", None)
    if wanted in names:
        st.session_state[what] = wanted
    elif what in st.session_state and st.session_state[what] not in names:
        del st.session_state[what]
    return st.selectbox(t(f"choice.{what}"), names, key=what, bind="query-params", persist_state="session")


def select(what: str, name: str) -> None:
    """Have `name` chosen the next time that the choice is drawn."""
    st.session_state[f"select-{what}"] = name


def choose_run(workspace: Workspace, beside: Callable[[Run], None] | None = None) -> Run | None:
    """The chosen run, with its status beside it, and what `beside` draws; None where there is none yet."""
    found = {run.id: run for run in runs.every(workspace)}
    if not found:
        return None
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    with left:
        run = found[choose("run", list(found)) or next(iter(found))]
    with right, st.container(horizontal=True, vertical_alignment="center"):
        show_status(run.state_at(None).status)
        if beside:
            beside(run)
    # The address holds what the choice shows, so that it shows the id, which stays.
    if name_of(run) != run.id:
        st.markdown(f"**{plain(name_of(run))}**")
    return run


def show_status(status: Status) -> None:
    """A badge with the status in words."""
    st.badge(t(f"train.status.{status}"), color=COLOURS[status])
