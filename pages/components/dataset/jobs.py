"""The jobs of the dataset page: imports, corpora, token counts, answers; their progress, and why they failed."""

import streamlit as st

from core.ground.files import read_json
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status, jobs_in, latest_job
from pages.components.choice import select
from pages.components.job_progress import show_progress
from pages.components.plain import plain
from pages.components.problems import show_end
from pages.components.text import t

KINDS = ("import", "corpus", "tokens", "assistant")


def live_jobs(workspace: Workspace) -> list[Job]:
    """Return the running jobs."""
    return [job for kind in KINDS for job in jobs_in(workspace.jobs, kind) if job.status().live]


def show_live(jobs: list[Job]) -> bool:
    """Draw each job with its progress and a stop button. Returns whether all of them are still running."""
    running = True
    for job in jobs:
        facts = job.spec.get("facts", {})
        what = t(f"jobs.{job.spec['kind']}")
        st.markdown(f"**{what}** {plain(facts.get('file') or facts.get('model') or '')}")
        running = show_progress(job) and running
    return running


def show_ended(workspace: Workspace) -> None:
    """Draw the last job of each kind if it failed, or its result, once per session."""
    for kind in KINDS:
        job = latest_job(workspace.jobs, kind)
        if job is None or job.status().live:
            continue
        seen = st.session_state.setdefault("jobs_seen", set())
        name = job.spec.get("facts", {}).get("name")
        if job.status() is Status.FINISHED:
            if str(job.directory) not in seen and name and read_json(workspace.dataset(name) / "dataset.json"):
                if st.session_state.get("jobs_watched"):
                    select("dataset", name)
                    st.toast(t("jobs.done", name=name))
                if why := job.progress.get("why"):
                    st.warning(plain(why), icon=":material/info:")
            seen.add(str(job.directory))
        elif str(job.directory) not in seen or st.session_state.get("job_failed") == str(job.directory):
            seen.add(str(job.directory))
            st.session_state["job_failed"] = str(job.directory)
            refused = job.log_tail().strip().splitlines()
            if refused and job.exit and job.exit["returncode"] == 2:
                st.error(plain(refused[-1].rpartition("\r")[2]), icon=":material/error:")
            else:
                show_end(job)
