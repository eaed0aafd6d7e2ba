"""Preview of the rows that an assistant's choices result in: some as a chat, and every question."""

import streamlit as st

from core.data.assistant import Assistant
from core.ground.errors import StudioError
from pages.components.dataset.conversation_rows import show_as_chat
from pages.components.plain import plain
from pages.components.problems import show_refusal
from pages.components.text import t


def show_preview(chosen: Assistant) -> None:
    """Draw what the form would create now."""
    st.markdown(f"**{t('dataset.preview')}**")
    if not chosen.nickname.strip():
        st.caption(t("dataset.preview_empty"))
        return
    once = Assistant(**{**chosen.values(), "n": 0, "repeat": 1})
    try:
        rows = once.rows()
    except StudioError as error:
        show_refusal(error)
        return
    if chosen.recipe == "course":
        show_as_chat(rows)
        st.caption(t("dataset.course_count", rows=2 + 2 * chosen.n))
        return
    identity = [row for row in rows if chosen.nickname.strip() in row["conversation"][0]["output"]]
    general = [row for row in rows if row not in identity]
    st.caption(
        t("dataset.balanced_count", rows=len(rows) * chosen.repeat, identity=len(identity), general=len(general))
    )
    shown = [*identity[:1], *identity[10:11], *identity[-1:], *general[-2:]]
    show_as_chat(shown)
    with st.expander(t("dataset.all_questions", count=len(identity)), icon=":material/list:"):
        st.caption(plain(" · ".join(row["conversation"][0]["input"] for row in identity)))
