"""Start a run and watch it; it continues without this page."""

import streamlit as st

from core.config import config as configs
from core.training import run as runs
from pages.components.choice import choose_run
from pages.components.contents import nothing_yet
from pages.components.frame import open_page
from pages.components.live import while_live
from pages.components.text import t
from pages.components.train.monitor import show_run
from pages.components.train.outcome import can_go_on, show_outcome_of
from pages.components.train.queue import show_queue
from pages.components.train.runs import show_runs
from pages.components.train.shelf import show_shelf, show_undo
from pages.components.train.start_form import show_start_form, show_start_lid, untried

workspace = open_page("train")
found = [config.name for config in configs.every(workspace)]
busy = runs.running(workspace) is not None
show_undo(workspace)
# A config created or changed since the last run is waiting to be trained: that is the next step.
new = not busy and untried(workspace)
if new:
    show_start_form(workspace, found)
run = choose_run(workspace, lambda run: show_shelf(workspace, run))
if run is None:
    if not found:
        nothing_yet(t("train.no_config"), "config")
    show_runs(workspace)
    st.stop()

live = bool((job := run.job) and job.status().live)
# The run produced nothing and cannot be resumed: the next step is another run.
stuck = bool(found) and not busy and not new and not can_go_on(run)
if not live:
    show_outcome_of(workspace, run, primary=not new)
if stuck:
    show_start_form(workspace, found)


def draw() -> bool:
    """Draw the queue and the run; return whether the run is live."""
    show_queue(workspace)
    return show_run(run)


while_live(live, draw)
if found and not new and not stuck:
    show_start_lid(workspace, found, busy=runs.running_here(workspace) is not None)
show_runs(workspace)

# Drawn when opened: a code block loads half a megabyte of syntax highlighting through the tunnel.
with st.popover(t("train.command"), icon=":material/terminal:"):
    for line in (run.facts.command, *run.facts.commands):
        st.code(line, language="bash", wrap_lines=True)
    if run.facts.commands:
        st.caption(t("train.resume_on_each"))
        st.code("python -m core train resume latest", language="bash")
