"""The entire workflow at one click: the form, the stages as they run, and the result. Core does the work."""

import streamlit as st

from core import demo
from core.chat.score import stored
from core.ground.errors import StudioError
from core.ground.figures import duration
from core.ground.files import read_json
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status, latest_job
from core.training import run as runs
from core.training.run import Run
from pages.components.choice import select
from pages.components.comparison import show_answers, show_scores
from pages.components.contents import link_to, next_button
from pages.components.job_progress import stop_button
from pages.components.plain import DONE, plain
from pages.components.problems import refusals, show_end
from pages.components.text import language, say, t

_ICONS = {
    "pending": ":material/schedule:",
    "running": ":material/play_circle:",
    "done": ":material/check_circle:",
    "failed": ":material/cancel:",
}


def show_demo(workspace: Workspace, last: Job | None, *, first: bool) -> None:
    """Draw what the demo does, or how the `last` one ended, and its form. `first`: it is the page's next step."""
    st.header(t("demo.title"), anchor=False)
    if last and last.status() is not Status.FINISHED:
        show_end(last)
    elif last and (run := _run_of(workspace, last)) and (result := read_json(run.path / "demo.json")):
        st.markdown(f":green[{DONE}] {t('demo.finished', time=say(duration(last.seconds)))}")
        first_answer = result["after"][0]
        st.markdown(f"> {plain(first_answer['prompt'])}  \n> **{plain(first_answer['answer'], run.nickname)}**")
        with st.container(horizontal=True):
            link_to("chat", t("demo.to_chat"))
            link_to("report", t("demo.to_report"))
    else:
        st.markdown(t("demo.intro"))
    show_form(workspace, first=first)


def show_form(workspace: Workspace, *, first: bool) -> None:
    """Ask for the nickname and start the demo."""
    models = {on: t(f"demo.{on}") for on in ("toy", "real")}
    with st.form("demo", border=False):
        model = st.radio(
            t("demo.on"),
            models,
            format_func=models.get,
            captions=[t("demo.toy_caption"), t("demo.real_caption")],
            key="demo_model",
            horizontal=True,
            persist_state="session",
        )
        left, right = st.columns([3, 2], vertical_alignment="bottom")
        nickname = left.text_input(
            t("demo.nickname"), key="demo_nickname", placeholder=t("demo.example"), persist_state="session"
        )
        if right.form_submit_button(
            t("demo.run"),
            type="primary" if first else "secondary",
            icon=":material/play_arrow:",
            width="stretch",
            key="demo_submit",
        ):
            with refusals():
                demo.start(workspace, nickname, language(), real=model == "real")
                st.rerun()


def show_stages(job: Job) -> None:
    """Draw each stage with its time and the time left."""
    for stage in job.progress.get("stages", []):
        name = stage["name"]
        words = [f"{_ICONS[stage['status']]} {t(f'demo.stage.{name}')}"]
        if stage["status"] != "pending":
            words.append(say(duration(stage["seconds"])))
        if stage["status"] == "running" and stage.get("eta_s"):
            words.append(t("job.left", time=say(duration(stage["eta_s"]))))
        st.progress(min(1.0, float(stage["done"] or 0.0)), text=" · ".join(words))


def show_live(job: Job) -> bool:
    """Draw the running demo. Returns whether it is still running."""
    nickname = job.spec.get("facts", {}).get("nickname", "")
    st.header(t("demo.title"), anchor=False)
    st.markdown(t("demo.running", nickname=plain(nickname), time=say(duration(job.seconds))))
    show_stages(job)
    if not job.progress:
        st.progress(0.0, text=t("job.phase.start"))
    with st.container(horizontal=True):
        if job.progress.get("run"):
            next_button("train", t("demo.watch"), run=job.progress["run"])
        stop_button(job)
    return job.status().live


def show_outcome(workspace: Workspace, job: Job) -> None:
    """Draw the result of the last demo: the stages if it failed, else the answers before and after, and the scores."""
    if job.status() is not Status.FINISHED:
        show_stages(job)
        return
    run = _run_of(workspace, job)
    if run is None:
        return
    result, scores = read_json(run.path / "demo.json"), stored(run)
    if result is None or scores is None:
        return
    pairs = zip(result["before"], result["after"], strict=True)
    show_answers([(before["prompt"], before["answer"], after["answer"]) for before, after in pairs], run.nickname)
    show_scores(scores, run)
    if st.session_state.get("demo_shown") != str(job.directory):
        # Only once, so that a later selection of another run is not overridden.
        st.session_state["demo_shown"] = str(job.directory)
        select("run", run.id)
    with st.expander(t("demo.stages"), icon=":material/timer:"):
        show_stages(job)


def _run_of(workspace: Workspace, job: Job) -> Run | None:
    """Return the run of a finished demo; None if it was deleted, which is not an error."""
    try:
        return runs.find(workspace, job.progress.get("run") or "")
    except StudioError:
        return None


def latest(workspace: Workspace) -> Job | None:
    """Return the newest demo."""
    return latest_job(workspace.jobs, "demo")
