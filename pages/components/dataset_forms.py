"""Making a dataset: of a recipe and a nickname, with a look at its rows beforehand, or of a file that is uploaded."""

import tempfile
from pathlib import Path

import streamlit as st

from core.data import dataset as datasets
from core.data.assistant import COURSE_N, balanced_rows, course_rows
from core.data.formats import FORMATS
from core.data.intake import Report
from core.ground.errors import StudioError
from core.ground.workspace import Workspace
from pages.components.choice import select
from pages.components.conversation_rows import show_as_chat
from pages.components.plain import DONE, plain
from pages.components.problems import refusals, show_refusal
from pages.components.text import say, t

PREVIEWED = 3
# From this repetition on, two conversations are learned by heart and nothing else is left.
LARGE_N = 500


def show_recipe_form(workspace: Workspace) -> None:
    """Nickname and recipe, the rows that come of them, and the button that stores them."""
    left, right = st.columns(2, gap="large")
    with left:
        nickname = st.text_input(
            t("dataset.nickname"), key="dataset_nickname", placeholder=t("demo.example"), persist_state="session"
        )
        recipe = st.radio(
            t("dataset.recipe"),
            ("balanced", "course"),
            format_func=lambda name: t(f"dataset.{name}"),
            captions=[t("dataset.balanced_caption"), t("dataset.course_caption")],
            key="dataset_recipe",
            persist_state="session",
        )
        n = COURSE_N
        if recipe == "course":
            n = st.number_input(
                t("dataset.n"),
                0,
                1_000_000,
                COURSE_N,
                key="dataset_n",
                help=t("dataset.n_help"),
                persist_state="session",
            )
            if n > LARGE_N:
                st.warning(t("dataset.n_large"), icon=":material/warning:")
        name = st.text_input(
            t("dataset.name"), key="dataset_name", placeholder=t("dataset.name_example"), persist_state="session"
        )
        if st.button(t("dataset.make"), type="primary", icon=":material/save:", key="make_dataset"):
            with refusals():
                made = datasets.make_assistant(workspace, nickname, recipe, n=n, name=name or None)
                select("dataset", made.name)
                st.toast(t("dataset.made", name=made.name, rows=made.rows), icon=DONE)
    with right:
        _preview(nickname, recipe, n)


def _preview(nickname: str, recipe: str, n: int) -> None:
    st.markdown(f"**{t('dataset.preview')}**")
    if not nickname.strip():
        st.caption(t("dataset.preview_empty"))
        return
    try:
        rows = course_rows(nickname, 0) if recipe == "course" else balanced_rows(nickname)
    except StudioError as error:
        show_refusal(error)
        return
    show_as_chat(rows[:PREVIEWED])
    st.caption(
        t("dataset.course_count", rows=2 + 2 * n) if recipe == "course" else t("dataset.balanced_count", rows=len(rows))
    )


def show_import_form(workspace: Workspace) -> None:
    """A file from the user's computer; afterwards its format and the rows that could not be used."""
    file = st.file_uploader(
        t("dataset.file"),
        type=["json", "jsonl", "csv", "tsv", "txt", "md"],
        key="dataset_file",
        help=t("dataset.file_help"),
    )
    left, right = st.columns(2)
    format_ = left.selectbox(
        t("dataset.format"),
        ("auto", *FORMATS),
        format_func=lambda name: t(f"dataset.format_{name}"),
        key="dataset_format",
    )
    name = right.text_input(t("dataset.name"), key="import_name", placeholder=t("dataset.import_example"))
    if st.button(
        t("dataset.import"), type="primary", icon=":material/upload_file:", key="import_dataset", disabled=file is None
    ):
        with refusals(), tempfile.TemporaryDirectory() as directory:
            # Under its own name, which tells the kind of file.
            path = Path(directory) / Path(file.name).name
            path.write_bytes(file.getbuffer())
            made, reading = datasets.import_file(workspace, path, format_, name=name or None)
            select("dataset", made.name)
            _show_reading(made.name, reading)


def _show_reading(name: str, reading: Report) -> None:
    st.success(
        t("dataset.imported", name=plain(name), rows=reading.rows, format=t(f"dataset.format_{reading.format}")),
        icon=":material/check_circle:",
    )
    if reading.skipped:
        st.warning(t("dataset.skipped", count=len(reading.skipped)), icon=":material/warning:")
        st.table(
            [
                {t("rows.number"): str(skipped["row"]), t("dataset.reason"): plain(say(skipped["reason"]))}
                for skipped in reading.skipped[:20]
            ],
            hide_index=True,
            border="horizontal",
        )
