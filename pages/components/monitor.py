"""A run as it trains: where it stands, its loss, its machine, its answers, its log; stop it, or go on with it."""

import streamlit as st

from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.training import run as runs
from core.training.run import Run
from core.training.state import State
from core.training.timeline import Answers
from pages.components.figures import duration, number
from pages.components.job_progress import progress_line, stop_button
from pages.components.loss_chart import points_of, show_loss, show_machine
from pages.components.plain import plain
from pages.components.problems import refusals, show_log
from pages.components.text import say, t


def show_run(workspace: Workspace, run: Run) -> bool:
    """Everything of a run. Returns whether it is live."""
    points = points_of(run)
    state = run.state(points)
    live = state.status.live
    _show_state(state)
    if state.reason and not live:
        box = st.warning if state.status is Status.KILLED else st.error
        box(plain(say(state.reason)), icon=":material/info:")
    _show_buttons(workspace, run, live, state.status)
    show_loss(run, points)
    _show_answers(run)
    with st.expander(t("monitor.machine"), icon=":material/memory:"):
        show_machine(run)
    if run.job:
        show_log(run.job, expanded=state.status in (Status.FAILED, Status.CRASHED))
    return live


def _show_state(state: State) -> None:
    live = state.status.live
    done = state.iter / state.max_iters if state.max_iters else 0.0
    words = progress_line(state.phase, state.seconds, state.eta_s) if live else duration(state.seconds)
    st.progress(min(1.0, done), text=words)
    epoch = f"{state.iter / state.iters_per_epoch:.1f}" if state.iters_per_epoch else number(None)
    figures = {
        "iteration": f"{state.iter} / {state.max_iters or '?'}",
        "epoch": epoch,
        "loss": number(state.loss, ".4f"),
        "time": duration(state.seconds),
        "left": duration(state.eta_s),
    }
    with st.container(horizontal=True, gap="medium"):
        for name, value in figures.items():
            st.metric(t(f"monitor.{name}"), value, width="content")


def _show_buttons(workspace: Workspace, run: Run, live: bool, status: Status) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if live and run.job:
            stop_button(run.job, grace=20.0, label=t("monitor.stop_keep"))
            if not run.job.stopping:
                stop_button(run.job, discard=True, label=t("monitor.stop_discard"))
        elif status is not Status.FINISHED and any(found.whole for found in run.checkpoints()):
            if st.button(t("monitor.resume"), icon=":material/resume:", key=f"resume-{run.id}"):
                with refusals():
                    runs.resume(workspace, run)
                    st.rerun()


def _show_answers(run: Run) -> None:
    """What the model answered before, during and after, and from when on it knows the name."""
    answers = _timeline(run)
    st.markdown(f"**{t('monitor.answers')}**")
    if not answers:
        st.caption(t("monitor.no_answers"))
        return
    questions = [plain(question) for question in run.questions]
    st.table(
        [
            {
                t("loss.iteration"): str(at.iter),
                **dict(zip(questions, (plain(answer, run.nickname) for answer in at.answers), strict=False)),
            }
            for at in answers
        ],
        hide_index=True,
        border="horizontal",
    )


def _timeline(run: Run) -> list[Answers]:
    """The run's answers, read again only when its logs have grown."""
    size = sum(log.stat().st_size for log in run.work_dir.glob("*/*.log"))
    known = st.session_state.get(f"timeline-{run.path}")
    if known is None or known[0] != size:
        known = (size, run.timeline())
        st.session_state[f"timeline-{run.path}"] = known
    return known[1]
