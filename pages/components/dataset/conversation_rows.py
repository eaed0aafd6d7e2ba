"""Draws rows of a dataset as a chat or a table, with links to the editor."""

from collections.abc import Mapping, Sequence

import streamlit as st

from core.data.dataset import Dataset
from core.data.row import Row
from pages.components.plain import plain
from pages.components.text import t

_SHOWN = 400
# The key of the tabs of a dataset's page.
TABS = "dataset_tab"


def show_as_chat(rows: Sequence[Row]) -> None:
    """Draw each turn as two bubbles, with the system prompt above them."""
    for row in rows:
        for turn in row["conversation"]:
            if turn.get("system"):
                with st.chat_message("system", avatar=":material/settings:"):
                    st.text(turn["system"])
            if turn["input"]:
                with st.chat_message("user"):
                    st.text(turn["input"])
            with st.chat_message("assistant"):
                st.text(turn["output"])


def show_as_table(rows: Sequence[tuple[int, Row]], nickname: str | None = None) -> None:
    """Draw rows by number: question, answer; the turns of a conversation are below each other. Negative: a new row."""
    with_system = any(turn.get("system") for _, row in rows for turn in row["conversation"])
    st.table(
        [
            {
                t("rows.number"): row_name(number) if place == 0 else "",
                **({t("rows.system"): plain(turn.get("system", "")[:_SHOWN])} if with_system else {}),
                t("rows.question"): plain(turn["input"][:_SHOWN]),
                t("rows.answer"): plain(turn["output"][:_SHOWN], nickname),
            }
            for number, row in rows
            for place, turn in enumerate(row["conversation"])
        ],
        hide_index=True,
        border="horizontal",
    )


def row_name(number: int) -> str:
    """Return the display name of a row: its number, or that it is new."""
    return str(number) if number > 0 else t("rows.new", number=-number)


def edit_row(dataset: Dataset, number: int) -> None:
    """Open a row in the editor, and the tab in which that is."""
    st.session_state[f"edited-{dataset.name}"] = number
    st.session_state[TABS] = t("dataset.tab_rows")


def ways_to_rows(dataset: Dataset, words: Mapping[int, str], key: str) -> None:
    """Draw a button per row, labeled by `words`, that opens it in the editor."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(t("checks.go"), width="content")
        for row, label in words.items():
            st.button(label, key=f"{key}-{row}", type="tertiary", on_click=edit_row, args=(dataset, row))
    st.caption(t("checks.go_help"))
