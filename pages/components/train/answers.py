"""Watch the model learn: its answers before, during and after training, and when it first knows the name."""

import pyarrow as pa
import streamlit as st

from core.chat.score import identity_share
from core.ground.figures import NONE, share
from core.training.run import Run
from core.training.timeline import Answers
from pages.components.plain import plain
from pages.components.text import t

MOST_ROWS = 6
# Of very many answers, a sample over the entire training: the table is sent with each refresh.
MOST_OF_ALL = 40


def show_answers(run: Run, answers: tuple[Answers, ...]) -> None:
    """Draw the answers as a timeline: all if they are few, else the first, the last and each change."""
    st.markdown(f"**{t('answers.title')}**")
    if not answers:
        st.caption(t("answers.none"))
        return
    chosen, table = list(answers), st.container()
    if len(answers) > MOST_ROWS:
        shown = min(len(answers), MOST_OF_ALL)
        # Below the table, so that the table is on the first screen.
        if st.toggle(t("answers.all", shown=shown, count=len(answers)), key="answers_all", persist_state="session"):
            chosen = [answers[round(place * (len(answers) - 1) / (shown - 1))] for place in range(shown)]
        else:
            chosen = _telling(run, chosen)
    questions = [plain(question) for question in run.questions]
    names = [whole(t("answers.at")), *([whole(t("answers.identity"))] if run.nickname else []), *questions]
    rows = []
    for at in chosen:
        words = [plain(answer, run.nickname) for answer in at.answers]
        rows.append([_when(at, answers), *([_score(run, at)] if run.nickname else []), *words])
    # An Arrow table: converting through a data frame takes most of a refresh.
    columns = [[row[place] if place < len(row) else "" for row in rows] for place in range(len(names))]
    table.table(pa.table(columns, names=names), hide_index=True, border="horizontal")


def _telling(run: Run, answers: list[Answers]) -> list[Answers]:
    """Return the first, the last, and those where the identity or else the words changed; never more than fit."""
    scores = [identity_share(at.answers, run.nickname) if run.nickname else at.answers for at in answers]
    changes = [place for place in range(1, len(answers) - 1) if scores[place] != scores[place - 1]]
    while len(changes) > MOST_ROWS - 2:
        # Every second one: the rest is still spread over the training.
        changes = changes[::2]
    return [answers[place] for place in [0, *changes, len(answers) - 1]]


def _when(at: Answers, answers: tuple[Answers, ...]) -> str:
    return whole(t("answers.before")) if at.iter == 0 and at is answers[0] else str(at.iter)


def whole(words: str) -> str:
    """Keep words on one line: a table breaks Chinese between any two characters in its narrow columns."""
    return words if words.isascii() else "\u2060".join(words)


def _score(run: Run, at: Answers) -> str:
    value = identity_share(at.answers, run.nickname)
    return NONE if value is None else share(value)
