"""What went wrong or may go wrong, in the user's language: a refusal of core, a list of problems, a job's end."""

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
    """Show a refusal of what the block does, and go on: what the user typed stays."""
    try:
        yield
    except StudioError as error:
        show_refusal(error)


def show_refusal(error: StudioError) -> None:
    """The message of an error that is meant for the user."""
    st.error(plain(error.text.in_(language())), icon=":material/error:")


def show_problems(problems: Sequence[Problem]) -> None:
    """Each problem with its place and what to do, the first twenty of them; all clear where there are none."""
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
    """Why a job did not finish, in its own words where it has any, and its log. Nothing for one that runs or finished."""
    why, status = why or reason(job), job.status()
    if why is None:
        return
    if status is Status.KILLED:
        st.warning(say(why), icon=":material/stop_circle:")
    else:
        st.error(plain(say(why)), icon=":material/error:")
    show_log(job, expanded=status is not Status.KILLED)


def show_log(job: Job, *, expanded: bool = False, lines: int = 40) -> None:
    """The last lines of a job's log; read, and sent with the half megabyte that draws code, once it is opened."""
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
