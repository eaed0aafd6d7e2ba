"""The queued runs: their order, moving them up or down, removing them from the queue."""

import streamlit as st

from core.ground.errors import StudioError
from core.ground.workspace import Workspace
from core.training import run as runs
from core.training.run import Run
from pages.components.plain import plain
from pages.components.problems import show_refusal
from pages.components.text import t

_REFUSED = "queue_refused"


def show_queue(workspace: Workspace) -> None:
    """Draw the queue; nothing if it is empty."""
    if refused := st.session_state.pop(_REFUSED, None):
        show_refusal(refused)
    waiting = runs.queued(workspace)
    if not waiting:
        return
    with st.container(border=True):
        st.markdown(f"**{t('queue.title')}**")
        st.caption(t("queue.intro"))
        for place, run in enumerate(waiting, 1):
            _show_place(workspace, run, place, len(waiting))


def _show_place(workspace: Workspace, run: Run, place: int, last: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{place}. {plain(run.id)}", width="stretch")
        for what, icon, to in (("up", "arrow_upward", place - 1), ("down", "arrow_downward", place + 1)):
            st.button(
                t(f"queue.{what}"),
                icon=f":material/{icon}:",
                disabled=not 1 <= to <= last,
                key=f"queue-{what}-{run.id}",
                on_click=_move,
                args=(workspace, run, to),
            )
        st.button(
            t("queue.cancel"),
            icon=":material/close:",
            disabled=bool(run.job and run.job.stopping),
            key=f"queue-cancel-{run.id}",
            on_click=_cancel,
            args=(run,),
        )


def _move(workspace: Workspace, run: Run, place: int) -> None:
    try:
        runs.move(workspace, run, place)
    except StudioError as error:
        # Its turn has come in the meantime.
        st.session_state[_REFUSED] = error


def _cancel(run: Run) -> None:
    try:
        run.stop(discard=True)
    except StudioError as error:
        st.session_state[_REFUSED] = error
