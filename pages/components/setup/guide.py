"""What to do next, one step at a time: the step in the course's words and the button that does it or leads to it."""

import streamlit as st

from core.engine import checkup, interpreter
from core.ground.workspace import Workspace
from core.report.assignment import Assignment
from pages.components.checklist import show_missing
from pages.components.contents import BY_NAME, link_to
from pages.components.problems import refusals
from pages.components.setup.models import demo_button, small_button
from pages.components.setup.sections import open_section
from pages.components.text import language, t


def show_guide(workspace: Workspace, found: Assignment, *, busy: bool) -> None:
    """The next step; that all is done where there is none. While something runs here its buttons wait."""
    step = found.next
    if step is None:
        st.subheader(t("guide.all_done"), anchor=False)
        st.markdown(t("guide.all_done_text"))
        with st.container(horizontal=True):
            link_to("report")
            link_to("chat")
        return
    number = found.steps.index(step) + 1
    st.caption(t("guide.step", number=number, all=len(found.steps)))
    st.subheader(t(f"checklist.{step.name}"), anchor=False)
    st.markdown(t(f"guide.{step.name}"))
    if step.name == "environment":
        _check_button(workspace, busy=busy)
    elif step.name == "model":
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                t("guide.to_models"),
                type="primary",
                icon=":material/link:",
                key="guide_models",
                on_click=open_section,
                args=("models",),
            )
            small_button(workspace, key="guide_small_model", disabled=busy)
            demo_button(workspace, key="guide_demo_model", disabled=busy)
    elif st.button(
        t("guide.go", page=BY_NAME[step.page].title), type="primary", icon=":material/arrow_forward:", key="guide_go"
    ):
        st.switch_page(BY_NAME[step.page].file)
    show_missing(found)


def _check_button(workspace: Workspace, *, busy: bool) -> None:
    if st.button(t("engine.check"), type="primary", icon=":material/fact_check:", key="guide_check", disabled=busy):
        with refusals():
            checkup.start(workspace, interpreter.in_use(workspace), language=language())
            st.rerun()
