"""The result of an ended run, in a card at the top: what it learned and the next step, or why it ended."""

import streamlit as st

from core.chat.diagnosis import IDENTITY, diagnose
from core.chat.score import identity_share, stored
from core.ground.figures import share
from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.report.ahead import next_page
from core.training import run as runs
from core.training.run import Run
from pages.components.contents import show_outcome
from pages.components.onward import words_to
from pages.components.plain import plain
from pages.components.problems import refusals
from pages.components.text import say, sentence, t
from pages.components.train.monitor import watch


def can_go_on(run: Run) -> bool:
    """Return whether the run can be resumed: it never began, or has a complete checkpoint.

    On additional machines the checkpoint has to be copied first, which resuming explains.
    """
    return not run.begun or run.cluster.node_rank > 0 or any(found.whole for found in run.checkpoints())


def show_outcome_of(workspace: Workspace, run: Run, *, primary: bool = True) -> None:
    """Draw the card of a run that is not live; `primary`: its button is the page's next step."""
    state = run.state_at(None)
    if state.status is Status.FINISHED:
        page = next_page(workspace, run)
        show_outcome(_learned(run), page, words_to(page, run), primary=primary)
        return
    box = st.warning if state.status is Status.KILLED else st.error
    with st.container(horizontal=True, vertical_alignment="center"):
        if state.reason:
            box(plain(say(state.reason)), icon=":material/info:")
        if can_go_on(run) and st.button(
            t("monitor.resume"),
            type="primary" if primary else "secondary",
            icon=":material/resume:",
            key=f"resume-{run.id}",
        ):
            with refusals():
                runs.resume(workspace, run)
                st.rerun()


def _learned(run: Run) -> str:
    """Return what it learned, in one line: its score if there is one, else its last answers."""
    scores = stored(run)
    if scores:
        words = f"**{sentence(say(diagnose(scores, run).words))}**"
        return f"{words} · {t('comparison.identity')} {share(scores.identity['tuned'])}" if run.nickname else words
    answers = watch(str(run.path), run).look().answers
    if not answers:
        return f"**{t('outcome.finished')}**"
    last = answers[-1].answers
    identity = identity_share(last, run.nickname)
    if identity is None:
        return f"**{t('outcome.finished')}** · “{plain(last[0])}”"
    said = next((answer for answer in last if run.nickname in answer), last[0])
    words = t("outcome.learned") if identity >= IDENTITY else t("outcome.not_learned")
    return f"**{words}** · {t('answers.identity')} {share(identity)} · “{plain(said, run.nickname)}”"
