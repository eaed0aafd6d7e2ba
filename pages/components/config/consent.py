"""Asks once for permission to execute a config from elsewhere, and shows its lines that are not settings."""

import hashlib

import streamlit as st

from core.config.config import Config
from core.engine import consent
from core.engine.config_file import SyntaxRefusal
from core.ground.workspace import Workspace
from pages.components.config.preflight import forget_forecast
from pages.components.plain import DONE, plain
from pages.components.text import t

# One page of them is enough: the complete text is in its tab.
MOST_LINES = 200
# Lines that fit the height; more are scrolled.
LINES_AT_ONCE, HEIGHT = 13, 320


def ask_to_execute(workspace: Workspace, config: Config) -> bool:
    """Return whether nobody agreed to the config's text yet; if so, draw what to check, and the button."""
    text = config.text()
    if consent.agreed(workspace, text):
        return False
    with st.container(border=True):
        st.warning(t("consent.asked", name=plain(config.name)), icon=":material/shield_question:")
        st.caption(t("consent.why"))
        try:
            lines = consent.beyond_settings(text, config.facts["preset"])
        except SyntaxRefusal:
            # Nothing to execute: the editor shows where the error is.
            return True
        if lines:
            st.markdown(t("consent.lines", count=len(lines)))
            shown = "\n".join(f"{line.number:>5}  {line.text}" for line in lines[:MOST_LINES])
            height = HEIGHT if len(lines) > LINES_AT_ONCE else "content"
            st.code(shown + ("\n…" if len(lines) > MOST_LINES else ""), language="python", height=height)
        else:
            st.markdown(t("consent.none"))
        st.caption(t("consent.whole", path=plain(str(config.file))))
        # Keyed by the text shown, so that a click never applies to another text.
        key = f"execute-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        if st.button(t("consent.agree", name=config.name), icon=":material/verified_user:", type="primary", key=key):
            consent.agree(workspace, text)
            forget_forecast()
            st.toast(t("consent.agreed", name=config.name), icon=DONE)
            st.rerun()
    return True
