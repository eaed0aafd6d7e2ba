"""The prompt template of a model: which was found, an example exchange, and what the model's own template adds."""

import streamlit as st

from core.models.model import Model
from pages.components.plain import plain
from pages.components.text import say, t


def show_prompt(model: Model) -> None:
    """Draw the prompt template, next to the model's own rendering if it has one."""
    prompt = model.prompt
    name = prompt.template.name or t("models.prompt_written")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(t("models.prompt", name=plain(name)))
        with st.popover(t("models.prompt_show"), icon=":material/forum:"):
            ours, own = st.columns(2) if prompt.own else (st.container(), None)
            ours.caption(t("models.prompt_ours"))
            ours.code(prompt.ours, language=None, wrap_lines=True)
            if own is not None:
                own.caption(t("models.prompt_own"))
                own.code(prompt.own, language=None, wrap_lines=True)
    st.caption(plain(say(prompt.reason)))
    if prompt.default_system:
        st.info(t("models.default_system", text=plain(prompt.default_system)), icon=":material/badge:")
    if prompt.thinking:
        st.caption(t("models.thinking", text=plain(prompt.thinking.strip())))
    if prompt.known and not prompt.system:
        st.caption(t("models.no_system"))
    if prompt.known and not prompt.rounds:
        st.caption(t("models.one_round"))
