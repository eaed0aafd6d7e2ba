"""Rows of a dataset on the screen: some as a chat, all of them as a table in pages."""

from collections.abc import Sequence

import streamlit as st

from core.data.messages import Row
from pages.components.plain import plain
from pages.components.text import t

ON_A_PAGE = 12


def show_as_chat(rows: Sequence[Row]) -> None:
    """Each turn as two bubbles."""
    for row in rows:
        for turn in row["conversation"]:
            if turn["input"]:
                with st.chat_message("user"):
                    st.text(turn["input"])
            with st.chat_message("assistant"):
                st.text(turn["output"])


def show_as_table(rows: Sequence[Row], key: str, nickname: str | None = None) -> None:
    """Rows by page: number, question, answer; the turns of one conversation below each other."""
    pages = max(1, -(-len(rows) // ON_A_PAGE))
    page = st.pagination(pages, key=key) if pages > 1 else 1
    first = (page - 1) * ON_A_PAGE
    st.table(
        [
            {
                t("rows.number"): str(number) if turn == row["conversation"][0] else "",
                t("rows.question"): plain(turn["input"][:400]),
                t("rows.answer"): plain(turn["output"][:400], nickname),
            }
            for number, row in enumerate(rows[first : first + ON_A_PAGE], first + 1)
            for turn in row["conversation"]
        ],
        hide_index=True,
        border="horizontal",
    )
