"""Loads and unloads the models of a chat, on the first question or a click; shows why they exited or do not fit."""

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
    """Return the worker for a run if it is loaded or loading, else None."""
    return worker_client.worker_there(workspace, run)


def show_loading(job: Job, worker: Worker) -> bool:
    """Draw the loading progress; return whether it is still loading."""
    return show_progress(job) and not worker.ready


def load(workspace: Workspace, run: Run, device: Device = "auto") -> bool:
    """Start loading the models; return whether that was possible. `show_refused` shows why not."""
    try:
        worker_client.worker_for(workspace, run, device=device)
    except StudioError as error:
        st.session_state[_REFUSED] = error
        return False
    return True


def memory_button(workspace: Workspace, run: Run, worker: Worker | None) -> None:
    """Draw the button that loads the models before a question, or unloads them."""
    if worker is None:
        st.button(
            t("chat.load"),
            icon=":material/memory:",
            key="load_chat",
            type="tertiary",
            on_click=load,
            args=(workspace, run),
            help=t("chat.load_intro"),
        )
    elif worker.ready:
        st.button(t("chat.unload"), icon=":material/eject:", on_click=worker.stop, key="unload_chat", type="tertiary")


def show_refused(workspace: Workspace, run: Run) -> None:
    """Show why the models could not be loaded or exited, and the alternative: the CPU if the GPU has no memory."""
    refused = st.session_state.pop(_REFUSED, None)
    if refused is None:
        last = latest_job(workspace.jobs, "chat")
        if last is None or last.status() not in (Status.FAILED, Status.CRASHED):
            return
        refused = worker_client.no_room(last)
        if refused is None:
            show_end(last)
            return
    show_refusal(refused)
    if gpus() and isinstance(refused, NoRoom):
        st.button(t("chat.load_on_cpu"), key="load_chat_cpu", on_click=load, args=(workspace, run, "cpu"))
