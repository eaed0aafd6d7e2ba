"""The models of the workspace: a list, whether they are complete, their files as a tree, and how to remove them."""

import streamlit as st

from core.config import config as configs
from core.ground.figures import NONE, parameters, size
from core.ground.tree import tree
from core.ground.workspace import Workspace
from core.jobs.job import Status, latest_job
from core.models import model as models
from core.models import small, trust
from core.models.hub import download
from core.models.model import Model
from core.training import run as runs
from pages.components.plain import DONE, plain, tick
from pages.components.problems import refusals, show_end, show_problems
from pages.components.setup.prompt import show_prompt
from pages.components.text import t

# No model has as many files, but a directory full of other things may be linked.
_MOST_FILES = 1000


def show_models(workspace: Workspace, *, opened: bool = False) -> None:
    """Draw a table of the models, and each with its tree, its problems and its actions."""
    found = models.every(workspace)
    if not found:
        st.info(t("models.none"), icon=":material/info:")
        return
    st.container(key="models").table(
        [
            {
                t("models.name"): plain(model.name),
                t("models.architecture"): plain(model.architecture or NONE),
                t("models.parameters"): parameters(model.parameters),
                t("models.size"): size(model.bytes),
                t("models.trainable"): tick(model.trainable),
                t("models.code"): _leave(workspace, model),
            }
            for model in found
        ],
        hide_index=True,
        border="horizontal",
    )
    for model in found:
        icon = ":material/folder_open:" if model.trainable else ":material/error:"
        # Drawn when opened: its tree loads half a megabyte of syntax highlighting.
        lid = st.expander(
            plain(model.name),
            icon=icon,
            expanded=opened or not model.trainable,
            key=f"model-{model.name}",
            on_change="rerun",
        )
        if lid.open:
            with lid:
                _show_model(workspace, model)


def show_tree(model: Model) -> None:
    """Draw the files as in the course's screenshot."""
    drawn = tree(model.path, most=_MOST_FILES, linked_to=model.linked_to)
    st.code(drawn, language=None, height=360 if drawn.count("\n") > 18 else "content")


def _show_model(workspace: Workspace, model: Model) -> None:
    kind = "linked_to" if model.linked_to else "lies_in"
    st.caption(t(f"models.{kind}", path=plain(str(model.linked_to or model.path))))
    if model.problems:
        show_problems(model.problems)
    if model.whole:
        show_prompt(model)
    show_tree(model)
    _go_away(workspace, model)


def _go_away(workspace: Workspace, model: Model) -> None:
    """Unlink or delete after confirmation, with a list of what uses the model."""
    verb = "unlink" if model.linked_to else "delete"
    users = [config.name for config in configs.every(workspace) if config.model == model.name]
    users += [run.id for run in runs.every(workspace) if run.facts.model.name == model.name]
    running = runs.running(workspace)
    with st.popover(t(f"models.{verb}"), icon=":material/link_off:" if model.linked_to else ":material/delete:"):
        st.markdown(t(f"models.{verb}_sure", name=plain(model.name), size=size(model.bytes)))
        if users:
            st.warning(t("models.used_by", count=len(users), names=plain(", ".join(users[:5]))))
        if running and running.facts.model.name == model.name:
            st.error(t("models.in_training", run=plain(running.id)))
        elif st.button(t(f"models.{verb}_yes"), type="primary", key=f"{verb}-{model.name}"):
            with refusals():
                (models.unlink if model.linked_to else models.delete)(workspace, model.name)
                st.toast(t(f"models.{verb}_done", name=model.name), icon=DONE)
                st.rerun()


def _leave(workspace: Workspace, model: Model) -> str:
    code = trust.code(workspace, model.path)
    if not code.files:
        return t("models.no_code")
    return tick(True) if code.trusted else f":orange[:material/shield_question:] {t('models.asked')}"


def show_build(workspace: Workspace, *, busy: bool) -> None:
    """Draw the two models that can be created here, the real one first: a button, why it failed, or that it exists."""
    st.markdown(t("models.small_title"))
    if small.there(workspace):
        st.success(t("models.small_there", name=small.NAME), icon=":material/check_circle:")
    else:
        _show_failure(workspace, small.JOB)
        st.caption(t("models.small_intro", size=size(small.SMOLLM2.bytes)))
        small_button(workspace, key="build_small_model", disabled=busy)
    st.markdown(t("models.demo_title"))
    if any(model.name == models.DEMO and model.whole for model in models.every(workspace)):
        st.success(t("models.demo_there"), icon=":material/check_circle:")
        return
    _show_failure(workspace, "demo_model")
    st.caption(t("models.build_intro"))
    demo_button(workspace, key="build_demo_model", disabled=busy)


def _show_failure(workspace: Workspace, kind: str) -> None:
    job = latest_job(workspace.jobs, kind)
    if job and not job.status().live and job.status() is not Status.FINISHED:
        show_end(job, download.why(job))


def small_button(workspace: Workspace, *, key: str, disabled: bool, primary: bool = False) -> None:
    """Draw the button that starts downloading and unpacking the small real model."""
    kind = "primary" if primary else "secondary"
    if st.button(t("models.small_build"), key=key, type=kind, icon=":material/download:", disabled=disabled):
        with refusals():
            small.build(workspace)
            st.rerun()


def demo_button(workspace: Workspace, *, key: str, disabled: bool) -> None:
    """Draw the button that starts building the demo model."""
    if st.button(t("models.build"), key=key, icon=":material/construction:", disabled=disabled):
        with refusals():
            models.build_demo(workspace)
            st.rerun()
