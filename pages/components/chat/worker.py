"""The models of a chat: load them, see them load, give their memory back, say why they are gone or have no room."""

import streamlit as st

from core.chat import worker_client
from core.chat.room import Device, NoRoom
from core.chat.worker_client import Worker
from core.ground.errors import StudioError
from core.ground.gpu import gpus
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status, latest_job
from core.training.run import Run
from pages.components.job_progress import show_progress
from pages.components.problems import show_end, show_refusal
from pages.components.text import t

_REFUSED = "chat_load_refused"


def worker_of(workspace: Workspace, run: Run) -> Worker | None:
    """The worker for a run that is loaded or being loaded; None where there is none."""
    return worker_client.worker_there(workspace, run)


def show_loading(job: Job, worker: Worker) -> bool:
    """The progress of the loading; whether it goes on."""
    return show_progress(job) and not worker.ready


def offer_loading(workspace: Workspace, run: Run) -> None:
    """The button that loads the models; before it, why the last ones are gone."""
    last = latest_job(workspace.jobs, "chat")
    if last and last.status() in (Status.FAILED, Status.CRASHED):
        if room := worker_client.no_room(last):
            show_refusal(room)
            load_button(workspace, run, on_cpu=True)
            return
        show_end(last)
    load_button(workspace, run)
    st.caption(t("chat.load_intro"))


def load_button(workspace: Workspace, run: Run, *, on_cpu: bool = False) -> None:
    """The button that loads the models, and one that does it on the CPU where the GPU has no room."""
    refused = st.session_state.pop(_REFUSED, None)
    with st.container(horizontal=True):
        st.button(
            t("chat.load"),
            type="primary",
            icon=":material/memory:",
            key="load_chat",
            on_click=_load,
            args=(workspace, run, "auto"),
        )
        if gpus() and (on_cpu or isinstance(refused, NoRoom)):
            st.button(t("chat.load_on_cpu"), key="load_chat_cpu", on_click=_load, args=(workspace, run, "cpu"))
    if refused:
        show_refusal(refused)


def _load(workspace: Workspace, run: Run, device: Device) -> None:
    try:
        worker_client.worker_for(workspace, run, device=device)
    except StudioError as error:
        st.session_state[_REFUSED] = error
