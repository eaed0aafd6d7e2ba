"""The models of the workspace: what there is, building the demo model, linking one that is on the machine."""

import streamlit as st

from core.engine import model as models
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status, latest_job
from pages.components.figures import NONE, parameters, size
from pages.components.job_progress import show_progress
from pages.components.plain import DONE, plain, tick
from pages.components.problems import refusals, show_end, show_problems
from pages.components.text import t


def build(workspace: Workspace) -> Job | None:
    """The newest build of the demo model."""
    return latest_job(workspace.jobs, "demo_model")


def show_models(workspace: Workspace) -> None:
    """A table of the models, and under it the problems of those that are not whole."""
    found = models.every(workspace)
    if not found:
        st.info(t("models.none"), icon=":material/info:")
        return
    st.table(
        [
            {
                t("models.name"): plain(model.name),
                t("models.architecture"): plain(model.architecture or NONE),
                t("models.parameters"): parameters(model.parameters),
                t("models.size"): size(model.bytes),
                t("models.whole"): tick(model.whole),
            }
            for model in found
        ],
        hide_index=True,
        border="horizontal",
    )
    for model in found:
        if model.problems:
            st.markdown(f"**{plain(model.name)}**")
            show_problems(model.problems)


def show_build(workspace: Workspace, job: Job | None) -> None:
    """The button that builds the demo model, or why its last build failed; nothing where the model is there."""
    if any(model.name == models.DEMO and model.whole for model in models.every(workspace)):
        return
    if job and job.status() is not Status.FINISHED:
        show_end(job)
    st.caption(t("models.build_intro"))
    if st.button(t("models.build"), key="build_demo_model", icon=":material/construction:"):
        with refusals():
            models.build_demo(workspace)
            st.rerun()


def show_building(job: Job) -> bool:
    """The running build. Returns whether it still runs."""
    return show_progress(job)


def show_link_form(workspace: Workspace) -> None:
    """Link a directory of this machine, as the course does with its shared copy."""
    with st.form("link_model", border=False):
        left, middle, right = st.columns([4, 2, 1], vertical_alignment="bottom")
        path = left.text_input(
            t("models.path"), key="link_path", placeholder="/root/share/internlm2-chat-1_8b", persist_state="session"
        )
        name = middle.text_input(
            t("models.link_name"), key="link_name", help=t("models.link_name_help"), persist_state="session"
        )
        if right.form_submit_button(t("models.link"), icon=":material/link:", width="stretch", key="link_model_submit"):
            with refusals():
                linked = models.link(workspace, path, name or None)
                st.toast(t("models.linked", name=linked.name), icon=DONE)
                st.rerun()
