"""The progress of a job: its phase, the share done, elapsed and remaining time, and a stop button."""

import streamlit as st

from core.ground.figures import duration
from core.jobs.job import Job
from pages.components.text import catalogue, language, say, t


def show_progress(job: Job, *, stop: bool = True) -> bool:
    """Draw the progress of a live job, with a button that stops it. Returns whether it is live."""
    if not job.status().live:
        return False
    told = job.progress
    st.progress(float(told.get("done") or 0.0), text=progress_line(told.get("note"), job.seconds, told.get("eta_s")))
    if stop:
        stop_button(job)
    return True


def progress_line(note: str | None, seconds: float, eta_s: float | None) -> str:
    """Format a line such as `Training · 1 min 5 s · about 40 s left`."""
    words = [phase(note), say(duration(seconds))]
    if eta_s:
        words.append(t("job.left", time=say(duration(eta_s))))
    return " · ".join(words)


def phase(note: str | None) -> str:
    """Return the phase of an engine process in the user's language."""
    return t(f"job.phase.{note}") if f"job.phase.{note}" in catalogue(language()) else t("job.phase.start")


def stop_button(job: Job, *, grace: float = 0.0, discard: bool = False, label: str | None = None) -> None:
    """Draw the button that stops a job, or that it is stopping. A job that is saving can still be told to `discard`."""
    if job.stopping and not (discard and not job.discarding):
        st.caption(t("job.stopping"))
        return
    st.button(
        label or t("job.stop"),
        key=f"stop-{job.directory}-{discard}",
        icon=":material/delete:" if discard else ":material/stop_circle:",
        on_click=job.ask_to_stop,
        kwargs={"grace": grace, "discard": discard},
    )
