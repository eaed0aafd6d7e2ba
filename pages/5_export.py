"""From a checkpoint to a standalone model: convert, merge, and verify that it answers the same."""

from pathlib import Path

import streamlit as st

from core.engine.commands import convert_as_typed, merge_as_typed
from core.export import export
from core.jobs.job import Status, latest_job
from pages.components.choice import choose_run
from pages.components.contents import nothing_yet
from pages.components.export.form import choose_checkpoint, choose_form, choose_steps
from pages.components.export.gguf import show_gguf
from pages.components.export.result import show_export, show_export_progress, show_made
from pages.components.frame import open_page
from pages.components.gone import show_gone_base
from pages.components.live import while_live
from pages.components.problems import refusals, show_end
from pages.components.text import t
from pages.components.unfinished import show_unfinished

workspace = open_page("export")
run = choose_run(workspace)
if run is None:
    nothing_yet(t("export.no_run"), "train")
    st.stop()
checkpoints = {found.name: found for found in reversed(run.checkpoints()) if found.whole}
found = export.exported(run)
if not checkpoints and found.merged is None:
    nothing_yet(t("export.no_checkpoint"), "train")
    st.stop()

job = latest_job(run.jobs, "export")
live = bool(job and job.status().live)
whole = export.full(run)
made = found.merged if whole else found.adapter
# A successful result leads to the next page; exporting again remains possible in an expander, drawn when opened.
done = not live and found.merged is not None and (found.verified or {}).get("ok") is not False
if live:
    while_live(True, lambda: show_export_progress(job))
elif job and job.status() is not Status.FINISHED:
    export.sweep(run)
    show_end(job)
# What is left to do needs the base model.
elsewhere = show_unfinished(run) or (not done and show_gone_base(run))
if done:
    show_made(workspace, run, found, primary=not elsewhere)
again = {"icon": ":material/replay:", "key": "export_again", "on_change": "rerun"}
lid = st.expander(t("export.again"), **again) if done else st.container()
checkpoint = next(iter(checkpoints), None)
if checkpoint and (not done or lid.open):
    with lid:
        if whole:
            st.info(t("export.full"), icon=":material/info:")
        checkpoint = choose_checkpoint(run, checkpoints)
        place = st.container()
        form = choose_form()
        with place:
            chosen = choose_steps(run, live=live, primary=not done and not elsewhere)
    if chosen:
        with refusals():
            export.start(workspace, run, chosen, checkpoint if "convert" in chosen else None, form)
            st.rerun()
show_export(run, found)

if made and made.get("checkpoint"):
    made_of = Path(made["checkpoint"])
    st.caption(t("export.made_of", checkpoint=made_of.stem))
else:
    # Without an adapter and with all checkpoints deleted, the commands are those of what there was.
    made_of = checkpoints[checkpoint].path if checkpoint else run.work_dir / "iter_N.pth"
with st.popover(t("export.commands"), icon=":material/terminal:"):
    lines = [convert_as_typed(run.config, made_of, run.merged if whole else run.adapter)]
    if not whole:
        lines.append(merge_as_typed(run.model_path, run.adapter, run.merged))
    st.code("\n".join(lines), language="bash", wrap_lines=True)
show_gguf(workspace, run, found, busy=live)
