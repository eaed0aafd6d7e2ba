"""The writeup of a run, ready to hand in, and the package ready to publish."""

import streamlit as st

from core.export.export import exported
from core.report import publish, writeup
from pages.components import report_view
from pages.components.choice import choose_run
from pages.components.contents import link_to, nothing_yet
from pages.components.figures import size
from pages.components.frame import open_page
from pages.components.job_progress import show_progress
from pages.components.live import while_live
from pages.components.problems import refusals
from pages.components.report_content import show_content
from pages.components.text import t

TARGETS = {"openxlab": "OpenXLab", "modelscope": "ModelScope", "huggingface": "Hugging Face"}

workspace = open_page("report")
run = choose_run(workspace)
if run is None:
    nothing_yet(t("report.no_run"), "train")
    st.stop()

job = report_view.building(run)
if job:
    while_live(True, lambda: show_progress(job))

report_tab, content_tab, shots_tab, publish_tab = st.tabs(
    [t("report.tab_report"), t("report.tab_content"), t("report.tab_shots"), t("report.tab_publish")], key="report_tab"
)
with report_tab:
    report_view.show_build(workspace, run, busy=job is not None)
    report = writeup.there(run)
    if report is None:
        st.info(t("report.none"), icon=":material/info:")
    else:
        report_view.show_downloads(report, run.id)
        report_view.show_report(report)

with content_tab:
    show_content(run)

with shots_tab:
    report_view.show_screenshots(run)

with publish_tab:
    st.markdown(t("report.publish_intro"))
    merged = exported(run).merged
    if merged is None:
        st.info(t("report.not_merged"), icon=":material/info:")
        link_to("export")
    else:
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        target = left.selectbox(t("report.target"), list(TARGETS), format_func=TARGETS.get, key="publish_target")
        if right.button(t("report.package"), icon=":material/inventory_2:", width="stretch", key="package"):
            with refusals(), st.spinner(t("report.packaging")):
                package = publish.package(run, target)
                st.success(t("report.packaged", size=size(merged["bytes"])), icon=":material/check_circle:")
                st.code(str(package.path), language=None, wrap_lines=True)
                st.code("\n".join(package.files), language=None)
                st.code((package.path / "README.md").read_text(encoding="utf-8"), language="markdown", wrap_lines=True)
