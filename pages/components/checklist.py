"""The steps of the assignment, ticked from facts on disk, with links to their pages; the next one, and what is missing.

Only the first page lists all steps; the others show the next one in the sidebar.
"""

import streamlit as st

from core.ground.workspace import Workspace
from core.report.assignment import Assignment, Step, assignment
from core.training import run as runs
from core.training.shown import titles
from pages.components.contents import link_to
from pages.components.plain import DONE, PENDING, plain
from pages.components.text import inside, language, say, t

_NEXT = ":material/arrow_circle_right:"
COLUMNS = 3
# Section of the first page.
SECTION = {"environment": {"section": "engine"}, "model": {"section": "models"}}


def show_checklist(workspace: Workspace, found: Assignment) -> None:
    """Draw the steps in three columns with the number done; only the next one stands out. Optional ones are below."""
    with st.container(border=True, key="checklist"):
        st.header(t("checklist.title", done=found.done, all=len(found.required)), anchor=False)
        rows = -(-len(found.required) // COLUMNS)
        for number, column in enumerate(st.columns(COLUMNS, gap="small")):
            with column.container(gap=None):
                for step in found.required[number * rows : (number + 1) * rows]:
                    _show_step(workspace, step, shines=step == found.next)
        for step in found.steps:
            if step.optional:
                _show_step(workspace, step, shines=False)


def _show_step(workspace: Workspace, step: Step, *, shines: bool) -> None:
    icon = DONE if step.done else _NEXT if shines else PENDING
    words = step_words(workspace, step)
    link_to(step.page, f":blue[**{words}**]" if shines else words, icon, **SECTION.get(step.name, {}))


def show_missing(found: Assignment) -> None:
    """List what the report still lacks, in one line."""
    if not found.missing:
        st.caption(t("checklist.nothing_missing"))
        return
    comma = "、" if language() == "zh" else ", "
    st.caption(t("checklist.missing", items=comma.join(t(f"checklist.short.{step.name}") for step in found.missing)))


def remind(workspace: Workspace) -> None:
    """For the sidebar of the other pages: the next step, and what the report lacks."""
    found = assignment(workspace)
    st.caption(t("checklist.title", done=found.done, all=len(found.required)))
    if found.next:
        with st.container(key="checklist"):
            words = t("checklist.next", step=inside(step_words(workspace, found.next)))
            link_to(found.next.page, words, _NEXT, **SECTION.get(found.next.name, {}))
    show_missing(found)


def step_words(workspace: Workspace, step: Step) -> str:
    """Return a step as text, with what proves it; a run only in the step that trained it, by its display name."""
    evidence = step.evidence if step.name in ("environment", "model", "dataset", "config", "trained") else None
    if evidence and step.name == "trained":
        run = runs.find(workspace, evidence)
        evidence = say(titles([run])[run.id])
    return t(f"checklist.{step.name}") + (f" · {plain(evidence)}" if evidence else "")
