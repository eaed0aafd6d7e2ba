"""A run in progress: status, curves, answers, machine, log, and how to stop it. `outcome` shows the result."""

from typing import Any

import streamlit as st

from core.ground.figures import duration, number, share
from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.training import run as runs
from core.training.run import Run
from core.training.shown import foremost
from core.training.state import State
from core.training.watch import Seen, Watch
from pages.components.job_progress import progress_line, stop_button
from pages.components.text import say, t
from pages.components.train.answers import show_answers
from pages.components.train.log import show_job_log
from pages.components.train.machine_charts import show_machine
from pages.components.train.run_charts import show_curves
from pages.components.train.slurm import show_slurm_job, waiting_line

# If the trainer is silent for longer, something may be wrong.
QUIET_SECONDS = 180.0


@st.cache_resource(show_spinner=False, max_entries=8)
def watch(path: str, _run: Run) -> Watch:  # noqa: ARG001
    """The one reader of a run, for all tabs that watch it."""
    return Watch(_run)


def read_ahead(workspace: Workspace) -> None:
    """Read the history of the run shown first, because a day of it takes an extra second."""
    run = foremost(workspace, runs.every(workspace))
    if run is not None:
        watch(str(run.path), run).look()


def show_run(run: Run) -> bool:
    """Draw a run: status and stop button, then curves and answers side by side. Returns whether it is live."""
    seen = watch(str(run.path), run).look()
    state = run.state_at(seen.points[-1] if seen.points else None)
    live = state.status.live
    # Once: each look reads the disk, and the run may be deleted in between.
    job = run.job
    told = job.progress if job else {}
    _show_progress(run, state)
    if state.slurm:
        show_slurm_job(state.slurm)
    if state.status is Status.PENDING:
        # There is nothing to show yet; the queue above has the actions.
        return True
    _show_alarms(state, seen)
    curves, answers = st.columns([11, 9], gap="medium")
    with curves:
        _show_figures(state, seen, told)
        show_curves(run, seen, told.get("tokens_per_iter"), live)
    with answers:
        show_answers(run, seen.answers)
        _show_learned(run, live)
    lid = st.expander(t("machine.title"), icon=":material/memory:", key="machine_open", on_change="rerun")
    if lid.open:
        with lid:
            show_machine(run, seen)
    if job:
        failed = state.status in (Status.FAILED, Status.CRASHED)
        show_job_log(job, file=f"{run.id}.log", ended=not live, expanded=failed)
    return live


def _show_progress(run: Run, state: State) -> None:
    """Draw the progress, the stop buttons while the run is live, and the next step."""
    done = state.iter / state.max_iters if state.max_iters else 0.0
    if state.status is Status.FINISHED:
        # Also if it stopped early.
        done = 1.0
    live, job = state.status.live, run.job
    words = progress_line(state.phase, state.seconds, state.eta_s) if live else say(duration(state.seconds))
    in_slurm = state.slurm if state.status is Status.PENDING and state.slurm and state.slurm.waiting else None
    if in_slurm:
        words = waiting_line(in_slurm)
    elif state.place:
        words = t("monitor.waits", place=state.place)
    if not live or job is None:
        st.progress(min(1.0, done), text=words)
        return
    left, right = st.columns([3, 2], gap="medium", vertical_alignment="center")
    left.progress(min(1.0, done), text=words)
    with right, st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if in_slurm:
            stop_button(job, discard=True, label=t("slurm.cancel"))
        elif state.status is not Status.PENDING:
            stop_button(job, grace=20.0, label=t("monitor.stop_keep"))
            # Also while it is saving, for users who do not want to wait.
            if not job.discarding:
                with st.popover(t("monitor.stop_otherwise"), type="tertiary"):
                    stop_button(job, discard=True, label=t("monitor.stop_discard"))
        # The next step is shown before it is possible.
        st.button(t("train.to_export"), type="primary", disabled=True, key="next", help=t("train.after_it"))


def _show_figures(state: State, seen: Seen, told: dict[str, Any]) -> None:
    """Four main figures, the others in one line."""
    pace, tokens = _last(seen, "time"), told.get("tokens_per_iter")
    figures = {
        "iteration": f"{state.iter} / {state.max_iters or '?'}",
        "loss": number(state.loss, ".4f"),
        "epoch": f"{state.iter / state.iters_per_epoch:.2f}" if state.iters_per_epoch else number(None),
        "pace": number(pace, ".3f"),
    }
    others = {
        "update": number(told.get("updates"), "d"),
        "lr": number(_last(seen, "lr"), ".2e"),
        "tokens": number(tokens / pace if tokens and pace else None, ",.0f"),
    }
    # Close together, so that they share a line on a phone.
    with st.container(horizontal=True, gap="small"):
        for name, value in figures.items():
            st.metric(t(f"monitor.{name}"), value, width="content")
    st.caption(" · ".join(f"{t(f'monitor.{name}')} {value}" for name, value in others.items()))
    if told.get("skipped"):
        st.caption(t("monitor.skipped", count=told["skipped"]))


def _show_alarms(state: State, seen: Seen) -> None:
    if seen.gap is not None:
        st.error(t("monitor.nan", iteration=seen.gap), icon=":material/warning:")
    if state.quiet_s and state.quiet_s > QUIET_SECONDS:
        st.warning(t("monitor.quiet", time=say(duration(state.quiet_s))), icon=":material/hourglass_empty:")


def _show_learned(run: Run, live: bool) -> None:
    """Draw the last check of early stopping, and how much it saved."""
    learned = run.learned
    if learned is None:
        return
    if learned.stopped_at:
        words = t(
            "monitor.stopped_no_better" if learned.why == "no_better" else "monitor.stopped_early",
            iteration=learned.stopped_at,
            saved=learned.iterations_saved,
            time=say(duration(learned.seconds_saved or 0.0)),
        )
        box = st.info if learned.why == "no_better" else st.success
        box(words, icon=":material/task_alt:")
        return
    if learned.given_up:
        st.caption(t("monitor.early_given_up"))
    elif learned.looks:
        last = learned.looks[-1]
        kept = last.get("agreement", last.get("retention"))
        words = t(
            "monitor.early_look_first" if kept is None else "monitor.early_look",
            iteration=last["iter"],
            identity=share(last["identity"]),
            **({} if kept is None else {"kept": share(kept)}),
        )
        st.caption(words if live else f"{words} {t('monitor.not_early')}")
    elif live:
        st.caption(t("monitor.early_waits"))


def _last(seen: Seen, name: str) -> float | None:
    column = seen.history[name]
    return float(column[-1]) if len(column) and column[-1] == column[-1] else None
