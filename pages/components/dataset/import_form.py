"""Imports a file: its detected format, the role of each column, names to fill in, and the button."""

from dataclasses import replace
from pathlib import Path

import streamlit as st

from core.data import background, intake
from core.data import dataset as datasets
from core.data.files.choices import Choices
from core.data.files.formats import FORMATS
from core.data.files.placeholders import Fill
from core.data.files.shapes import Columns
from core.data.files.source import KINDS
from core.data.intake import Peek, Report, Wanted
from core.ground.errors import StudioError
from core.ground.workspace import Workspace, free_name
from pages.components.choice import select
from pages.components.dataset.choices_form import choose, choose_sheets, choose_speaker, show_noticed
from pages.components.dataset.conversation_rows import show_as_chat
from pages.components.dataset.incoming import choose_file
from pages.components.dataset.kept_form import held, keep, line, place, restore
from pages.components.plain import DONE, plain
from pages.components.problems import refusals, show_refusal
from pages.components.text import language, say, t

# Larger files are imported by a job with a progress bar.
MOST_INLINE = 8 << 20
USUAL = {
    "dataset_format": "auto",
    "fill_name": "",
    "fill_author": "",
    "import_name": "",
    "dataset_path": "",
    "dataset_from": "upload",
}


def show_import_form(workspace: Workspace, *, first: bool) -> None:
    """Draw a file by upload or path, its contents, and the button that imports it. `first`: there is no dataset yet."""
    restore(workspace, "import", USUAL)
    files, uploaded = choose_file(workspace, "dataset", [*KINDS, "xlsm", "ndjson"])
    wanted, sure = Wanted(), True
    if files:
        try:
            wanted, sure = _look(workspace, files[0])
        except StudioError as error:
            show_refusal(error)
    line(t("dataset.name"), "import_name", t("dataset.import_example"))
    if st.button(
        t("dataset.import"),
        type="primary" if first else "secondary",
        icon=":material/upload_file:",
        key="import_dataset",
        disabled=not (files and sure),
    ):
        with refusals():
            _import(workspace, files[0], wanted, uploaded)
    keep(workspace, "import", list(USUAL))


def _look(workspace: Workspace, file: Path) -> tuple[Wanted, bool]:
    """Preview a file; return the choices, and whether no guess is waiting for confirmation."""
    formats = ("auto", *FORMATS)
    format_ = st.selectbox(
        t("dataset.format"),
        formats,
        place("dataset_format", formats),
        format_func=lambda name: t(f"dataset.format_{name}"),
        key="dataset_format",
        persist_state="session",
    )
    peeked = intake.peek(file, Wanted(format=format_))
    sheets = choose_sheets(peeked, file.name)
    speaker = choose_speaker(peeked, file.name)
    choices = Choices(sheets=sheets, speaker=speaker)
    if sheets or speaker:
        peeked = intake.peek(file, Wanted(format=format_, choices=choices))
    choices = choose(workspace, peeked, speaker, sheets)
    columns, sure = None, True
    if format_ in ("auto", "qa") and peeked.format in (None, "qa") and len(peeked.columns) > 1:
        columns = _columns(workspace, peeked)
        sure = peeked.sure or _confirmed(peeked)
    wanted = Wanted(format=format_, columns=columns, choices=choices)
    if columns or choices != Choices(sheets=sheets, speaker=speaker):
        peeked = intake.peek(file, wanted)
    if peeked.placeholders:
        st.info(t("dataset.placeholders", found=plain("、".join(peeked.placeholders[:6]))), icon=":material/edit:")
        left, right = st.columns(2)
        name = left.text_input(t("dataset.fill_name"), held("fill_name"), key="fill_name", persist_state="session")
        author = right.text_input(
            t("dataset.fill_author"), held("fill_author"), key="fill_author", persist_state="session"
        )
        wanted = replace(wanted, fill=Fill(name=name.strip(), author=author.strip()))
        peeked = intake.peek(file, wanted)
    if peeked.left_out:
        names = plain("、".join(peeked.left_out[:10]))
        st.warning(t("dataset.sheets", names=names), icon=":material/table:")
    if peeked.format is None and peeked.skipped:
        _table(peeked.skipped[:5])
    if peeked.format is None:
        st.warning(t("dataset.format_unknown"), icon=":material/help:")
        return wanted, sure
    st.caption(
        t(
            "dataset.found",
            format=t(f"dataset.format_{peeked.format}"),
            encoding=(peeked.encoding or "-").upper(),
            columns=plain("、".join(peeked.columns[:8]) or "-"),
        )
    )
    with st.expander(t("dataset.peek", count=len(peeked.rows)), icon=":material/visibility:", expanded=True):
        show_as_chat(peeked.rows[:3])
        if peeked.skipped:
            _table(peeked.skipped[:5])
    show_noticed(peeked)
    return wanted, sure


def _columns(workspace: Workspace, peeked: Peek) -> Columns | None:
    """Choose the columns for question and answer; the guess can be corrected."""
    guess = peeked.guessed
    names, others = peeked.columns, ["", *peeked.columns]
    st.caption(t("dataset.columns_intro"))
    columns = "-".join(names)
    usual = {
        f"q-{columns}": guess.question if guess else names[0],
        f"a-{columns}": guess.answer if guess else names[1],
        f"s-{columns}": (guess.system if guess else None) or "",
    }
    restore(workspace, "columns", usual)
    question, answer, system = (
        column.selectbox(
            t(f"dataset.column_{part}"),
            options,
            place(key, options),
            format_func=lambda name: name or t("dataset.column_none"),
            key=key,
            persist_state="session",
        )
        for column, part, options, key in zip(
            st.columns(3), ("question", "answer", "system"), (names, names, others), usual, strict=True
        )
    )
    keep(workspace, "columns", list(usual))
    chosen = Columns(question=question, answer=answer, system=system or None)
    # Automatic detection also reads the earlier turns of a conversation.
    return None if peeked.format == "qa" and chosen == guess else chosen


def _confirmed(peeked: Peek) -> bool:
    """If columns were guessed by their order, return whether the user has confirmed the guess."""
    return st.checkbox(t("dataset.columns_guessed"), key=f"sure-{'-'.join(peeked.columns)}", persist_state="session")


def _import(workspace: Workspace, file: Path, wanted: Wanted, uploaded: bool) -> None:
    name = st.session_state["import_name"].strip() or None
    if file.is_file() and file.stat().st_size > MOST_INLINE:
        chosen = name or free_name(workspace.datasets, "imported")
        background.start_import(workspace, file, wanted, chosen, language(), keep=uploaded)
        st.rerun()
    with st.spinner(t("dataset.importing"), show_time=True):
        made, report = intake.import_file(workspace, file, name=name, wanted=wanted, keep=uploaded)
    select("dataset", made.name)
    st.session_state["imported"] = (made.name, report)
    st.toast(t("dataset.made", name=made.name, rows=made.rows), icon=DONE)
    st.rerun()


def show_last_import(workspace: Workspace) -> None:
    """Draw the result of the last import."""
    name, report = st.session_state.get("imported", (None, None))
    if name is None or name not in {made.name for made in datasets.every(workspace)}:
        return
    _show_report(name, report)


def _show_report(name: str, report: Report) -> None:
    st.success(
        t("dataset.imported", name=plain(name), rows=report.rows, format=t(f"dataset.format_{report.format}")),
        icon=":material/check_circle:",
    )
    if report.skipped_count:
        st.warning(t("dataset.skipped", count=report.skipped_count), icon=":material/warning:")
        _table(report.skipped[:20])


def _table(skipped: list[dict]) -> None:
    st.table(
        [{t("rows.number"): str(left["row"]), t("dataset.reason"): plain(say(left["reason"]))} for left in skipped],
        hide_index=True,
        border="horizontal",
    )
