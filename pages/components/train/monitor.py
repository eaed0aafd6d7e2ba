"""A run as it trains: where it stands, its curves, its answers, its machine, its log; stop it, or go on with it."""

from typing import Any

import streamlit as st

from core.ground.figures import duration, number, share
from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.training import run as runs
from core.training.run import Run
from core.training.state import State
from core.training.watch import Seen, Watch
from pages.components.job_progress import progress_line, stop_button
from pages.components.plain import plain
from pages.components.problems import refusals
from pages.components.text import say, t
from pages.components.train.answers import show_answers
from pages.components.train.log import show_job_log
from pages.components.train.machine_charts import show_machine
from pages.components.train.run_charts import show_curves

# Longer without a word from the trainer, and something may be wrong.
QUIET_SECONDS = 180.0


@st.cache_resource(show_spinner=False, max_entries=8)
def watch(path: str, _run: Run) -> Watch:  # noqa: ARG001
    """The one reader of a run, for all tabs that watch it."""
    return Watch(_run)


def read_ahead(workspace: Workspace) -> None:
    """Read the history of the newest run: the first look at a day of it otherwise takes a second longer."""
    for run in runs.every(workspace)[:1]:
        watch(str(run.path), run).look()


def show_run(workspace: Workspace, run: Run) -> bool:
    """Everything of a run. Returns whether it is live."""
    seen = watch(str(run.path), run).look()
    state = run.state_at(seen.points[-1] if seen.points else None)
    live = state.status.live
    told = run.job.progress if run.job else {}
    _show_state(state, seen, told)
    if state.status is Status.PENDING:
        # Nothing of it is there yet, and the queue above has what can be done with it.
        return True
    _show_alarms(state, seen)
    _show_learned(run, live)
    _show_buttons(workspace, run, live, state.status)
    show_curves(run, seen, told.get("tokens_per_iter"), live)
    show_answers(run, seen.answers)
    lid = st.expander(t("machine.title"), icon=":material/memory:", key="machine_open", on_change="rerun")
    if lid.open:
        with lid:
            show_machine(run, seen)
    if run.job:
        failed = state.status in (Status.FAILED, Status.CRASHED)
        show_job_log(run.job, file=f"{run.id}.log", ended=not live, expanded=failed)
    return live


def _show_state(state: State, seen: Seen, told: dict[str, Any]) -> None:
    live, total = state.status.live, max(seen.seconds, state.seconds)
    done = state.iter / state.max_iters if state.max_iters else 0.0
    if state.status is Status.FINISHED:
        # Also where it ended early, as wished.
        done = 1.0
    words = progress_line(state.phase, total, state.eta_s) if live else say(duration(total))
    if state.place:
        words = t("monitor.waits", place=state.place)
    st.progress(min(1.0, done), text=words)
    pace, tokens = _last(seen, "time"), told.get("tokens_per_iter")
    figures = {
        "iteration": f"{state.iter} / {state.max_iters or '?'}",
        "update": number(told.get("updates"), "d"),
        "epoch": f"{state.iter / state.iters_per_epoch:.2f}" if state.iters_per_epoch else number(None),
        "loss": number(state.loss, ".4f"),
        "lr": number(_last(seen, "lr"), ".2e"),
        "pace": number(pace, ".3f"),
        "tokens": number(tokens / pace if tokens and pace else None, ",.0f"),
    }
    with st.container(horizontal=True, gap="medium"):
        for name, value in figures.items():
            st.metric(t(f"monitor.{name}"), value, width="content")
    if told.get("skipped"):
        st.caption(t("monitor.skipped", count=told["skipped"]))


def _show_alarms(state: State, seen: Seen) -> None:
    if state.reason and not state.status.live:
        box = st.warning if state.status is Status.KILLED else st.error
        box(plain(say(state.reason)), icon=":material/info:")
    if seen.gap is not None:
        st.error(t("monitor.nan", iteration=seen.gap), icon=":material/warning:")
    if state.quiet_s and state.quiet_s > QUIET_SECONDS:
        st.warning(t("monitor.quiet", time=say(duration(state.quiet_s))), icon=":material/hourglass_empty:")


def _show_learned(run: Run, live: bool) -> None:
    """What the early stop saw last, and what it saved."""
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


def _show_buttons(workspace: Workspace, run: Run, live: bool, status: Status) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if live and run.job:
            stop_button(run.job, grace=20.0, label=t("monitor.stop_keep"))
            # Also while it is saving: who does not want to wait for that need not.
            if not run.job.discarding:
                stop_button(run.job, discard=True, label=t("monitor.stop_discard"))
        elif status is not Status.FINISHED and _can_go_on(run):
            if st.button(t("monitor.resume"), icon=":material/resume:", key=f"resume-{run.id}"):
                with refusals():
                    runs.resume(workspace, run)
                    st.rerun()


def _can_go_on(run: Run) -> bool:
    """Whether there is something to go on from; on a further machine it has to be brought, which resuming says."""
    return not run.begun or run.cluster.node_rank > 0 or any(found.whole for found in run.checkpoints())


def _last(seen: Seen, name: str) -> float | None:
    column = seen.history[name]
    return float(column[-1]) if len(column) and column[-1] == column[-1] else None
