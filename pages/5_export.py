"""From a checkpoint to a model that stands alone: convert, merge, and see that it answers the same."""

from pathlib import Path

import streamlit as st

from core.chat.score import best, of_checkpoints
from core.engine.commands import convert_as_typed, merge_as_typed
from core.export import export
from core.jobs.job import Status, latest_job
from pages.components.choice import choose_run
from pages.components.contents import link_to, nothing_yet
from pages.components.export.form import checkpoint_line, choose_form
from pages.components.export.result import show_export, show_export_progress
from pages.components.frame import open_page
from pages.components.live import while_live
from pages.components.problems import refusals, show_end
from pages.components.text import t

workspace = open_page("export")
run = choose_run(workspace)
if run is None:
    nothing_yet(t("export.no_run"), "train")
    st.stop()
checkpoints = {found.name: found for found in reversed(run.checkpoints()) if found.whole}
if not checkpoints:
    nothing_yet(t("export.no_checkpoint"), "train")
    st.stop()

job = latest_job(run.jobs, "export")
live = bool(job and job.status().live)
whole = export.full(run)
scored = of_checkpoints(run)
proposed = best(scored)
checkpoint = st.selectbox(
    t("export.checkpoint"),
    list(checkpoints),
    index=list(checkpoints).index(proposed) if proposed in checkpoints else 0,
    format_func=lambda name: checkpoint_line(name, checkpoints[name].bytes, scored.get(name), proposed),
    key=f"checkpoint-{run.id}",
    help=t("export.checkpoint_help"),
)
if whole:
    st.info(t("export.full"), icon=":material/info:")
form = choose_form()

chosen: tuple[export.Step, ...] | None = None
with st.container(horizontal=True):
    if st.button(
        t("export.all_full" if whole else "export.all"),
        type="primary",
        icon=":material/deployed_code:",
        disabled=live,
        key="export-all",
    ):
        chosen = export.steps_of(run)
    for step in export.steps_of(run):
        if st.button(t(f"export.only_{step}"), key=f"export-{step}", disabled=live):
            chosen = (step,)
if chosen:
    with refusals():
        export.start(workspace, run, chosen, checkpoint if "convert" in chosen else None, form)
        st.rerun()

if live:
    while_live(True, lambda: show_export_progress(job))
elif job and job.status() is not Status.FINISHED:
    export.sweep(run)
    show_end(job)

found = export.exported(run)
show_export(run, found)
made = found.merged if whole else found.adapter
if made and made.get("checkpoint"):
    made_of = Path(made["checkpoint"])
    st.caption(t("export.made_of", checkpoint=made_of.stem))
else:
    made_of = checkpoints[checkpoint].path
st.caption(t("export.commands"))
lines = [convert_as_typed(run.config, made_of, run.merged if whole else run.adapter)]
if not whole:
    lines.append(merge_as_typed(run.model_path, run.adapter, run.merged))
st.code("\n".join(lines), language="bash", wrap_lines=True)
if made:
    link_to("chat", t("export.to_chat"), ":material/arrow_forward:")
