"""The report of a run, ready to hand in, and the package, ready to publish."""

import streamlit as st

from core.report import writeup
from pages.components.choice import choose_run
from pages.components.contents import nothing_yet
from pages.components.frame import open_page
from pages.components.job_progress import show_progress
from pages.components.live import while_live
from pages.components.report import view
from pages.components.report.content import show_content, show_notes
from pages.components.report.publish import show_publish, uploading
from pages.components.text import t
from pages.components.unfinished import show_unfinished

workspace = open_page("report")
run = choose_run(workspace)
if run is None:
    nothing_yet(t("report.no_run"), "train")
    st.stop()

job, sending = view.building(run), uploading(run)
if job or sending:
    # One timer for both; when one has ended, the page is redrawn.
    while_live(True, lambda: [show_progress(live) for live in (job, sending) if live].count(False) == 0)

unfinished = show_unfinished(run)
# Only the open one is drawn.
report_tab, content_tab, shots_tab, publish_tab = st.tabs(
    [t("report.tab_report"), t("report.tab_content"), t("report.tab_shots"), t("report.tab_publish")],
    key="report_tab",
    on_change="rerun",
)
if report_tab.open:
    with report_tab:
        report = writeup.there(run)
        if report is None and job is None:
            st.markdown(t("report.none"))
        view.show_build(workspace, run, report, busy=job is not None, primary=not unfinished)
        show_notes(run)
        if report is not None:
            view.show_report(report)
elif content_tab.open:
    with content_tab:
        show_content(run)
elif shots_tab.open:
    with shots_tab:
        view.show_screenshots(run)
else:
    with publish_tab:
        show_publish(workspace, run, busy=sending is not None)
