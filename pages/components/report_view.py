"""A report on the screen, its Markdown with the pictures in their places, and its files to download."""

import io
import re
import zipfile

import streamlit as st

from core.report.writeup import Report
from pages.components.text import t

_PICTURE = re.compile(r"!\[([^\]]*)\]\(([\w.-]+\.png)\)")


def show_downloads(report: Report, name: str) -> None:
    """The Markdown, the page that stands alone, and everything in one archive."""
    with st.container(horizontal=True):
        for file, kind in (("report.md", "text/markdown"), ("report.html", "text/html")):
            st.download_button(
                file,
                (report.path / file).read_bytes(),
                f"{name}-{file}",
                kind,
                icon=":material/download:",
                on_click="ignore",
            )
        st.download_button(
            t("report.archive"),
            _archive(report),
            f"{name}.zip",
            "application/zip",
            icon=":material/folder_zip:",
            on_click="ignore",
        )


def show_report(report: Report) -> None:
    """The report as it reads."""
    parts = _PICTURE.split((report.path / "report.md").read_text(encoding="utf-8"))
    with st.container(border=True):
        for number, part in enumerate(parts):
            if number % 3 == 0:
                st.markdown(part)
            elif number % 3 == 2 and (report.path / part).is_file():
                st.image((report.path / part).read_bytes(), caption=parts[number - 1], width="stretch")


def _archive(report: Report) -> bytes:
    """All files of the report as a ZIP archive; they are small."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in report.files:
            archive.write(report.path / file, file)
    return packed.getvalue()
