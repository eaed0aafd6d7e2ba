"""The jobs started on this page, each with its progress and a stop button, and why they failed."""

import streamlit as st

from core.engine import checkup
from core.ground.figures import duration, size
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status, latest_job
from core.models import small
from core.models.hub import download
from pages.components.job_progress import show_progress, stop_button
from pages.components.plain import plain
from pages.components.problems import show_end, show_log
from pages.components.setup import demo
from pages.components.text import say, t

KINDS = ("demo", "demo_model", small.JOB, download.JOB, checkup.JOB)


def live_jobs(workspace: Workspace) -> dict[str, Job]:
    """Return the live jobs of the kinds started here, by kind."""
    found = {kind: latest_job(workspace.jobs, kind) for kind in KINDS}
    return {kind: job for kind, job in found.items() if job and job.status().live}


def show_live(workspace: Workspace, before: dict[str, Job]) -> bool:
    """Draw the running jobs. Returns whether they are the same as `before`; if not, the page has news to show."""
    now = live_jobs(workspace)
    for kind, job in now.items():
        # The demo has its card already.
        with st.container(border=kind != "demo"):
            if kind == "demo":
                demo.show_live(job)
            elif kind == download.JOB:
                _show_download(job)
            elif not ("demo" in now and kind == "demo_model"):
                st.markdown(t(f"busy.{kind}"))
                show_progress(job)
    return now.keys() == before.keys()


def _show_download(job: Job) -> None:
    told, facts = job.progress, job.spec.get("facts", {})
    st.markdown(t("busy.download", name=plain(facts.get("name", "")), hub=t(f"download.{facts.get('hub')}")))
    words = [t("download.connecting")]
    if told.get("total"):
        words = [plain(told.get("file") or ""), f"{size(told['bytes'])} / {size(told['total'])}"]
        if told.get("rate"):
            words.append(f"{size(told['rate'])}/s")
        if told.get("eta_s"):
            words.append(t("job.left", time=say(duration(told["eta_s"]))))
    st.progress(float(told.get("done") or 0.0), text=" · ".join(words))
    stop_button(job)


def show_failures(workspace: Workspace) -> None:
    """Draw why the last check or download failed, until the next one; a download has its own words."""
    job = latest_job(workspace.jobs, checkup.JOB)
    if job and job.status() not in (Status.FINISHED, Status.KILLED) and not job.status().live:
        show_end(job)
    job = download.latest(workspace)
    if job and not job.status().live and job.status() not in (Status.FINISHED, Status.KILLED):
        name = job.spec.get("facts", {}).get("name", "")
        if name in download.unfinished(workspace):
            st.error(f"**{plain(name)}** · {plain(say(download.why(job)))}", icon=":material/error:")
            show_log(job)
