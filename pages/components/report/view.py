"""Shows a report: the buttons that build it, its Markdown with the images in place, its files."""

import re

import streamlit as st

from core.ground.figures import moment
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status, latest_job
from core.report import browser, screenshots, writeup
from core.report.writeup import Report
from core.training.run import Run
from pages.components.plain import plain
from pages.components.problems import refusals, show_end
from pages.components.text import language, say, t

_PICTURE = re.compile(r"!\[((?:[^\]\\]|\\.)*)\]\(([\w.-]+\.(?:png|jpg))\)")
_KINDS = {
    "report.zip": "application/zip",
    "report.md": "text/markdown",
    "report.html": "text/html",
    "report.pdf": "application/pdf",
}


def building(run: Run) -> Job | None:
    """Return the job that builds the report now, None if there is none."""
    job = latest_job(run.jobs, "report")
    return job if job and job.status().live else None


def show_build(workspace: Workspace, run: Run, report: Report | None, *, busy: bool, primary: bool) -> None:
    """Draw the report as an archive with its files, and the buttons that build it.

    `primary`: building is the next step until there is a report that is up to date.
    """
    chromium = browser.find() is not None
    good = report is not None and not busy and not writeup.outdated(run)
    if report is not None and not busy:
        when = moment((report.path / "report.md").stat().st_mtime)
        st.markdown(t("report.there", when=when) if good else t("report.outdated", when=when))
    with st.container(horizontal=True, vertical_alignment="center"):
        if report is not None:
            _downloads(report, run.id, primary=primary and good)
        pictured = st.button(
            t("report.build_pictured"),
            type="primary" if primary and chromium and not good else "secondary",
            icon=":material/photo_camera:",
            disabled=busy or not chromium,
            help=t("report.build_pictured_help") if chromium else say(browser.HOW),
            key="build_report_pictured",
        )
        words_alone = st.button(
            t("report.build_plain") if chromium else t("report.build"),
            type="primary" if primary and not chromium and not good else "secondary",
            icon=":material/edit_document:",
            disabled=busy,
            key="build_report",
        )
    if words_alone or pictured:
        with refusals():
            writeup.start(workspace, run, language(), with_screenshots=pictured)
            st.rerun()
    if report is not None and "report.pdf" not in report.files:
        st.caption(t("report.no_pdf"))
    last = latest_job(run.jobs, "report")
    if last and not busy and last.status() is not Status.FINISHED:
        show_end(last)


def _downloads(report: Report, name: str, *, primary: bool) -> None:
    """Draw the download of the archive, and of individual files."""
    for file, kind in _KINDS.items():
        if file not in report.files:
            continue
        whole = file == "report.zip"
        st.download_button(
            t("report.archive") if whole else file,
            (report.path / file).read_bytes,
            f"{name}.zip" if whole else f"{name}-{file}",
            kind,
            type=("primary" if primary else "secondary") if whole else "tertiary",
            icon=":material/folder_zip:" if whole else ":material/download:",
            on_click="ignore",
            key=f"download-{file}",
        )


def show_report(report: Report) -> None:
    """Draw the report as it reads."""
    parts = _PICTURE.split((report.path / "report.md").read_text(encoding="utf-8"))
    with st.container(border=True, key="report_text"):
        for number, part in enumerate(parts):
            if number % 3 == 0:
                st.markdown(part)
            elif number % 3 == 2 and (report.path / part).is_file():
                st.image((report.path / part).read_bytes(), caption=parts[number - 1], width="stretch")


def show_screenshots(run: Run) -> None:
    """Draw links to the pages in screenshot mode, for manual screenshots, and those taken automatically."""
    st.markdown(t("report.shots_intro"))
    with st.container(horizontal=True):
        for number, name in enumerate(screenshots.PAGES):
            # Relative to this page, at whatever path a proxy serves it.
            where = "" if number == 0 else name
            query = f"shot=1&embed=true&run={run.id}" + ("&lang=en" if language() == "en" else "")
            st.link_button(t(f"{name}.title"), f"./{where}?{query}", icon=":material/open_in_new:")
    for words in screenshots.missing(run, language()):
        st.caption(f":material/hide_image: {plain(words)}")
    taken, when = screenshots.taken(run, language()), screenshots.taken_at(run)
    if not taken or when is None:
        st.caption(t("report.shots_none"))
        return
    left, right = st.columns([3, 1], vertical_alignment="center")
    left.caption(t("report.shots_taken", count=len(taken), when=moment(when)))
    with right.popover(t("report.shots_discard"), icon=":material/delete:", width="stretch"):
        st.markdown(t("report.shots_discard_sure"))
        st.button(t("report.discard"), on_click=screenshots.discard, args=(run,), key="discard_shots")
    for column, picture in zip(st.columns(3) * len(taken), taken, strict=False):
        path = run.path / "writeup" / picture.file
        column.image(path.read_bytes(), caption=picture.caption, width="stretch")
