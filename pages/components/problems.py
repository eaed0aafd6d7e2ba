"""Draws errors and problems in the user's language: an error of core, a list of problems, the end of a job."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from core.engine.failures.reasons import reason
from core.ground.errors import StudioError
from core.ground.problem import Problem
from core.ground.text import Text
from core.jobs.job import Job, Status
from pages.components.plain import plain
from pages.components.text import language, say, t

SHOWN = 20
_WHERE = ("agreement", "dataset", "model", "rows", "tokenizer")


@contextmanager
def refusals() -> Iterator[None]:
    """Show errors raised within the block and continue, so that the user's input is kept."""
    try:
        yield
    except StudioError as error:
        show_refusal(error)


def show_refusal(error: StudioError) -> None:
    """Draw the message of an error for the user."""
    st.error(plain(error.text.in_(language())), icon=":material/error:")


def show_problems(problems: Sequence[Problem]) -> None:
    """Draw the first twenty problems, each with its location and the next step; or that there are none."""
    if not problems:
        st.success(t("problems.none"), icon=":material/check_circle:")
    for problem in problems[:SHOWN]:
        box, icon = (
            (st.error, ":material/error:") if problem.severity == "error" else (st.warning, ":material/warning:")
        )
        box(
            f"**{plain(_where(problem.where))}** · {plain(say(problem.message))}  \n{plain(say(problem.hint))}",
            icon=icon,
        )
    if len(problems) > SHOWN:
        st.caption(t("problems.more", count=len(problems) - SHOWN))


def show_end(job: Job, why: Text | None = None) -> None:
    """Draw why a job failed, in its own words if there are any, and its log. Nothing if it is running or succeeded."""
    why, status = why or reason(job), job.status()
    if why is None:
        return
    if status is Status.KILLED:
        st.warning(say(why), icon=":material/stop_circle:")
    else:
        st.error(plain(say(why)), icon=":material/error:")
    show_log(job, expanded=status is not Status.KILLED)


def show_log(job: Job, *, expanded: bool = False, lines: int = 40) -> None:
    """Draw the last lines of a job's log once opened, because a code block loads half a megabyte."""
    opened = st.expander(
        t("problems.log"),
        icon=":material/terminal:",
        expanded=expanded,
        key=f"log-{job.directory}-{expanded}",
        on_change="rerun",
    )
    if opened.open:
        tail = "\n".join(job.log_tail().splitlines()[-lines:])
        opened.code(tail or t("problems.log_empty"), language=None, wrap_lines=True, height=260)


def _where(where: str) -> str:
    row = re.fullmatch(r"row (\d+)", where)
    if row:
        return t("problems.row", number=row[1])
    return t(f"problems.where.{where}") if where in _WHERE else where
