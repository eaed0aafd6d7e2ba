"""The next step, one at a time: the step in the course's words, and the button that does it or leads to it."""

import streamlit as st

from core.engine import checkup, interpreter
from core.ground.gpu import gpus
from core.ground.workspace import Workspace
from core.report.assignment import Assignment
from core.training import run as runs
from pages.components.contents import next_button
from pages.components.problems import refusals
from pages.components.setup.models import demo_button, small_button
from pages.components.setup.sections import open_section
from pages.components.text import inside, language, t


def show_guide(workspace: Workspace, found: Assignment, *, busy: bool, first: bool) -> None:
    """Draw the next step, or that everything is done. Its buttons are disabled while something is running here.

    `first`: it is the next step, and its button the page's primary one.
    """
    step = found.next
    if step is None:
        st.header(t("guide.all_done"), anchor=False)
        st.markdown(t("guide.all_done_text"))
        by_the_demo = all((run.path / "demo.json").exists() for run in runs.every(workspace) if run.begun)
        if by_the_demo:
            st.markdown(t("guide.by_the_demo"))
        with st.container(horizontal=True):
            next_button("report", primary=first)
            next_button("chat", primary=False, key="next_chat")
            if by_the_demo:
                next_button("dataset", t("guide.yourself"), primary=False, key="next_yourself")
        return
    number = found.required.index(step) + 1
    st.header(t("guide.title", step=inside(t(f"checklist.{step.name}"))), anchor=False)
    st.caption(t("guide.step", number=number, all=len(found.required)))
    training = step.name == "trained" and runs.running(workspace) is not None
    st.markdown(t("guide.training") if training else t(f"guide.{step.name}"))
    if step.name == "environment":
        _check_button(workspace, busy=busy, first=first)
    elif step.name == "model":
        with st.container(horizontal=True, vertical_alignment="center"):
            _ways_to_a_model(workspace, busy=busy, first=first)
    else:
        next_button(step.page, t("demo.watch") if training else None, primary=first, key="guide_go")


def _ways_to_a_model(workspace: Workspace, *, busy: bool, first: bool) -> None:
    """Draw the ways to a model; without a GPU, the one that needs none comes first."""
    small_first = first and not gpus()
    if small_first:
        small_button(workspace, key="guide_small_model", disabled=busy, primary=True)
    st.button(
        t("guide.to_models"),
        type="primary" if first and not small_first else "secondary",
        icon=":material/link:",
        key="guide_models",
        on_click=open_section,
        args=("models",),
    )
    if not small_first:
        small_button(workspace, key="guide_small_model", disabled=busy)
    demo_button(workspace, key="guide_demo_model", disabled=busy)


def _check_button(workspace: Workspace, *, busy: bool, first: bool) -> None:
    kind = "primary" if first else "secondary"
    if st.button(t("engine.check"), type=kind, icon=":material/fact_check:", key="guide_check", disabled=busy):
        with refusals():
            checkup.start(workspace, interpreter.in_use(workspace), language=language())
            st.rerun()
