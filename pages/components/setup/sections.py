"""The lower part of the first page, one section at a time: the selection is in the URL and survives a reload."""

import streamlit as st

from pages.components.text import t

SECTIONS = ("demo", "models", "machine", "engine", "tunnel")
_ICONS = {
    "demo": ":material/rocket_launch:",
    "models": ":material/network_node:",
    "machine": ":material/memory:",
    "engine": ":material/settings_suggest:",
    "tunnel": ":material/vpn_lock:",
}
_OPEN, _SWITCH = "section", "section_switch"


def choose_section(*, has_demo: bool) -> str:
    """Choose the open section: by default the result of the demo if there is one, else the models.

    Stored by its name, which does not depend on the language.
    """
    there = SECTIONS if has_demo else SECTIONS[1:]
    asked = st.query_params.get(_OPEN)
    if asked in there:
        # A link takes precedence over what was open.
        open_section(asked)
    chosen = st.session_state.get(_OPEN)
    # Until the user chooses, it is the first section, which may change a moment later.
    st.session_state[_SWITCH] = chosen = chosen if chosen in there else there[0]
    st.segmented_control(
        t("setup.sections"),
        there,
        required=True,
        format_func=lambda name: f"{_ICONS[name]} {t(f'setup.section.{name}')}",
        key=_SWITCH,
        on_change=_take_choice,
        label_visibility="collapsed",
        wrap=True,
    )
    if chosen != there[0]:
        st.query_params[_OPEN] = chosen
    elif _OPEN in st.query_params:
        del st.query_params[_OPEN]
    return chosen


def open_section(name: str) -> None:
    """Open a section, from a button's callback or before it is drawn."""
    st.session_state[_OPEN] = st.query_params[_OPEN] = name


def _take_choice() -> None:
    # Stored under a key that belongs to no widget, so that it survives a change of page.
    st.session_state[_OPEN] = st.query_params[_OPEN] = st.session_state[_SWITCH]
