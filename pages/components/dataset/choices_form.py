"""The options for importing a file: who answers in a chat log, and how to treat thinking, labels and tokens.

An option is shown only if the file has something to choose.
"""

from typing import Any

import streamlit as st

from core.data.files.choices import PAUSE_HOURS, Choices
from core.data.intake import Peek
from core.ground.workspace import Workspace
from pages.components.dataset.kept_form import held, keep, restore
from pages.components.problems import show_problems
from pages.components.text import t

USUAL: dict[str, Any] = {
    "choice_thinking": "keep",
    "choice_bad": "drop",
    "choice_pause": PAUSE_HOURS,
    "choice_mask": True,
    "choice_strip": False,
}


def choose_sheets(peeked: Peek, key: str) -> tuple[str, ...]:
    """Choose the sheets of a workbook to read; the first one by default."""
    if len(peeked.sheets) < 2:
        return ()
    chosen = st.multiselect(
        t("dataset.choice_sheets"),
        peeked.sheets,
        key=f"sheets-{key}",
        placeholder=t("dataset.choice_sheets_first", name=peeked.sheets[0]),
        persist_state="session",
    )
    return tuple(name for name in chosen if name in peeked.sheets)


def choose_speaker(peeked: Peek, key: str) -> str:
    """Choose which of the speakers is the assistant."""
    if not peeked.speakers:
        return ""
    counts = dict(peeked.speakers)
    guess = peeked.speaker if peeked.speaker in counts else None
    names = list(counts)
    return (
        st.selectbox(
            t("dataset.choice_speaker"),
            names,
            index=names.index(guess) if guess else None,
            format_func=lambda name: t("dataset.choice_said", name=name, count=counts.get(name, 0)),
            key=f"speaker-{key}",
            placeholder=t("dataset.choice_speaker_none"),
            help=t("dataset.choice_speaker_help"),
            persist_state="session",
        )
        or ""
    )


def choose(workspace: Workspace, peeked: Peek, speaker: str, sheets: tuple[str, ...]) -> Choices:
    """Draw the options that apply to the file in `peeked`; return the choices."""
    restore(workspace, "choices", USUAL)
    kinds = {problem.kind for problem in peeked.problems}
    log = peeked.format == "log"
    chosen: dict[str, Any] = {}
    if kinds & {"thinking", "thinking_dropped"}:
        chosen["thinking"] = _segments("thinking", ("keep", "drop"))
    if kinds & {"bad", "bad_kept"}:
        chosen["bad"] = _segments("bad", ("drop", "keep"))
    if log:
        left, right = st.columns(2, vertical_alignment="bottom")
        chosen["pause_hours"] = left.number_input(
            t("dataset.choice_pause"),
            min_value=0.1,
            max_value=720.0,
            value=held("choice_pause"),
            step=0.5,
            key="choice_pause",
            help=t("dataset.choice_pause_help"),
            persist_state="session",
        )
        chosen["mask"] = right.toggle(
            t("dataset.choice_mask"),
            held("choice_mask"),
            key="choice_mask",
            help=t("dataset.choice_mask_help"),
            persist_state="session",
        )
    if kinds & {"token", "token_end", "stripped"}:
        chosen["strip"] = st.toggle(
            t("dataset.choice_strip"),
            held("choice_strip"),
            key="choice_strip",
            help=t("dataset.choice_strip_help"),
            persist_state="session",
        )
    keep(workspace, "choices", list(USUAL))
    return Choices(speaker=speaker, sheets=sheets, **chosen)


def show_noticed(peeked: Peek) -> None:
    """Draw notices about the beginning of the file, before it is imported."""
    if peeked.problems:
        st.caption(t("dataset.noticed", count=len(peeked.rows) + len(peeked.skipped)))
        show_problems(peeked.problems)


def _segments(name: str, options: tuple[str, ...]) -> str:
    return st.segmented_control(
        t(f"dataset.choice_{name}"),
        options,
        default=held(f"choice_{name}"),
        format_func=lambda option: t(f"dataset.choice_{name}_{option}"),
        key=f"choice_{name}",
        required=True,
        persist_state="session",
    )
