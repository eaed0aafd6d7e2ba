"""The log of a job: first error, last lines, search and download. Read only when opened, and only its ends."""

import streamlit as st

from core.ground.figures import size
from core.jobs import log as logs
from core.jobs.job import Job
from core.jobs.log import Found
from pages.components.plain import plain
from pages.components.text import t

LINES = 80


def show_job_log(job: Job, *, file: str, ended: bool, expanded: bool = False) -> None:
    """Draw the log in an expander. `ended`: look for the first error; `file`: name of the download."""
    lid = st.expander(
        t("log.title"),
        icon=":material/terminal:",
        expanded=expanded,
        key=f"log-{job.directory}-{expanded}",
        on_change="rerun",
    )
    if not lid.open:
        return
    with lid:
        bytes_ = job.log.stat().st_size if job.log.exists() else 0
        error = _first_error(str(job.log), bytes_) if ended else None
        if error:
            st.markdown(t("log.first_error"))
            st.code(error, language=None, wrap_lines=True)
        st.caption(t("log.last", count=LINES, size=size(bytes_)))
        tail = "\n".join(logs.last_lines(job.log, LINES))
        # A container that scrolls to its end.
        with st.container(height=320, autoscroll=True, border=False):
            st.code(tail or t("problems.log_empty"), language=None, wrap_lines=True)
        _search(job)
        path = job.log
        st.download_button(
            t("log.download"),
            data=lambda: logs.copy(path),
            file_name=file,
            mime="text/plain",
            key="log_download",
            type="tertiary",
            icon=":material/download:",
            on_click="ignore",
            help=t("log.download_help", path=str(path)),
        )


@st.cache_data(show_spinner=False, max_entries=50)
def _first_error(path: str, bytes_: int) -> str | None:  # noqa: ARG001
    """Cached: the log of an ended job does not change."""
    from pathlib import Path

    return logs.first_error(Path(path))


def _search(job: Job) -> None:
    """Search on request, not at each refresh; results are kept until the next search."""
    with st.form(f"log-search-{job.directory}", border=False, enter_to_submit=False):
        left, right = st.columns([5, 1], vertical_alignment="bottom")
        words = left.text_input(t("log.search"), key="log_words", max_chars=200)
        asked = right.form_submit_button(t("log.find"), icon=":material/search:", width="stretch")
    if asked and words.strip():
        st.session_state["log_found"] = (str(job.log), words, logs.search(job.log, words))
    told = st.session_state.get("log_found")
    if not told or told[0] != str(job.log):
        return
    _, words, found = told
    found: Found
    if found.lines:
        st.caption(t("log.found", count=len(found.lines), words=plain(words)))
        st.code("\n".join(reversed(found.lines)), language=None, wrap_lines=True, height=220)
    else:
        st.caption(t("log.not_found", words=plain(words)))
    if not found.whole:
        st.button(
            t("log.further", looked=size(found.size - found.before), size=size(found.size)),
            key="log_further",
            on_click=_further,
            args=(job, words, found),
        )


def _further(job: Job, words: str, found: Found) -> None:
    st.session_state["log_found"] = (str(job.log), words, logs.search(job.log, words, before=found.before))
