"""The state of a run's comparison, in a card above everything: its verdict and the report, or that it needs scoring."""

import streamlit as st

from core.chat import scoring
from core.chat.diagnosis import diagnose
from core.chat.score import stored
from core.ground.figures import share
from core.ground.workspace import Workspace
from core.jobs.job import Job
from core.report.ahead import Page, next_page
from core.training.run import Run
from pages.components.chat.scores import start_scoring
from pages.components.contents import show_outcome
from pages.components.gone import show_gone_base
from pages.components.onward import words_to
from pages.components.text import say, sentence, t
from pages.components.unfinished import show_unfinished


def show_standing(workspace: Workspace, run: Run, job: Job | None, *, in_chat: bool) -> bool:
    """Draw the card, above conversation and score alike; return whether it contains the page's next step."""
    scores = stored(run)
    if job is not None:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(t("chat.being_scored"), width="stretch")
            st.button(t("chat.to_report"), type="primary", disabled=True, key="next")
        return True
    if show_unfinished(run):
        return True
    if scores is not None:
        words = f"**{sentence(say(diagnose(scores, run).words))}**"
        if run.nickname:
            words += f" · {t('comparison.identity')} {share(scores.identity['tuned'])}"
        page: Page = "export" if next_page(workspace, run) == "export" else "report"
        show_outcome(words, page, words_to(page, run))
        return True
    if show_gone_base(run):
        return True
    if not scoring.can_be_scored(workspace, run):
        show_outcome(t("chat.cannot_be_scored"), "report", words_to("report", run))
        return True
    if not in_chat:
        # The scoring tab's own button is in view.
        return False
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(t("chat.to_be_scored"), width="stretch")
        st.button(
            t("chat.to_score"),
            type="primary",
            icon=":material/grading:",
            key="score-now",
            on_click=start_scoring,
            args=(workspace, run),
        )
    return True
