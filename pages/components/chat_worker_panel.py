"""The models of a chat: load them, see them load, give their memory back, say why they are gone."""

import streamlit as st

from core.chat import compare
from core.chat.compare import Worker
from core.ground.errors import StudioError
from core.ground.workspace import Workspace
from core.jobs.job import Status, latest_job
from core.training.run import Run
from pages.components.job_progress import show_progress
from pages.components.live import while_live
from pages.components.problems import show_end, show_refusal
from pages.components.text import t

_REFUSED = "chat_load_refused"


def ready_worker(workspace: Workspace, run: Run) -> Worker | None:
    """The worker, ready to be asked; until then its progress, or the button that loads it."""
    worker = compare.worker_there(workspace, run)
    if worker is None:
        last = latest_job(workspace.jobs, "chat")
        if last and last.status() in (Status.FAILED, Status.CRASHED):
            show_end(last)
        load_button(workspace, run)
        st.caption(t("chat.load_intro"))
        return None
    if worker.ready:
        return worker

    def loading() -> bool:
        return show_progress(worker.job) and not worker.ready

    while_live(True, loading)
    return None


def load_button(workspace: Workspace, run: Run) -> None:
    """The button that loads both sides."""
    st.button(
        t("chat.load"), type="primary", icon=":material/memory:", key="load_chat", on_click=_load, args=(workspace, run)
    )
    if refused := st.session_state.pop(_REFUSED, None):
        show_refusal(refused)


def _load(workspace: Workspace, run: Run) -> None:
    try:
        compare.worker_for(workspace, run)
    except StudioError as error:
        st.session_state[_REFUSED] = error
