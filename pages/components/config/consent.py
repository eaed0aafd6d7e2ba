"""Asks once for leave to execute a config that came from elsewhere, with the lines of it that are not settings."""

import hashlib

import streamlit as st

from core.config.config import Config
from core.engine import consent
from core.engine.config_file import SyntaxRefusal
from core.ground.workspace import Workspace
from pages.components.config.preflight import forget_forecast
from pages.components.plain import DONE, plain
from pages.components.text import t

# A page of them says enough: the whole text is in its tab.
MOST_LINES = 200
# As many as fit the height; more are scrolled.
LINES_AT_ONCE, HEIGHT = 13, 320


def ask_to_execute(workspace: Workspace, config: Config) -> bool:
    """Whether nobody agreed to the config's text yet; then a box with what to look at, and the button."""
    text = config.text()
    if consent.agreed(workspace, text):
        return False
    with st.container(border=True):
        st.warning(t("consent.asked", name=plain(config.name)), icon=":material/shield_question:")
        st.caption(t("consent.why"))
        try:
            lines = consent.beyond_settings(text, config.facts["preset"])
        except SyntaxRefusal:
            # Nothing to execute: the editor says where.
            return True
        if lines:
            st.markdown(t("consent.lines", count=len(lines)))
            shown = "\n".join(f"{line.number:>5}  {line.text}" for line in lines[:MOST_LINES])
            height = HEIGHT if len(lines) > LINES_AT_ONCE else "content"
            st.code(shown + ("\n…" if len(lines) > MOST_LINES else ""), language="python", height=height)
        else:
            st.markdown(t("consent.none"))
        st.caption(t("consent.whole", path=plain(str(config.file))))
        # By the text that is shown: a click on another one is none.
        key = f"execute-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        if st.button(t("consent.agree", name=config.name), icon=":material/verified_user:", type="primary", key=key):
            consent.agree(workspace, text)
            forget_forecast()
            st.toast(t("consent.agreed", name=config.name), icon=DONE)
            st.rerun()
    return True
