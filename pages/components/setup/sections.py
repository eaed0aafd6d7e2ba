"""The parts of the first page below its fold, one at a time: the choice is in the URL and survives a reload."""

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
    """The part that is open: what the demo came to where there was one, else the models. Kept by its name, which no
    language changes.
    """
    there = SECTIONS if has_demo else SECTIONS[1:]
    asked = st.query_params.get(_OPEN)
    if asked in there:
        # A link, which goes before what was open.
        open_section(asked)
    chosen = st.session_state.get(_OPEN)
    # Until somebody chooses, it is the first, which may be another one a moment later.
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
    """Open a part: from a button's callback, or before it is drawn."""
    st.session_state[_OPEN] = st.query_params[_OPEN] = name


def _take_choice() -> None:
    # Into a key that is no widget's, which stays from page to page.
    st.session_state[_OPEN] = st.query_params[_OPEN] = st.session_state[_SWITCH]
