"""Redraws a page while something is running. Use one per page: a second timer can lose what the page draws after it."""

import gc
from collections.abc import Callable

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.components.again import again_if_gone
from pages.components.server.memory import room_for_names

EVERY_SECONDS = 2


def while_live(live: bool, draw: Callable[[], bool]) -> None:
    """Call `draw`, repeatedly every two seconds while `live`.

    `draw` returns whether it is still live; if not, the entire page is redrawn without the timer.
    """

    def tick() -> None:
        # The page as a whole is drawn again by app.py.
        going_on = again_if_gone(draw) if ticked() else draw()
        if not going_on and live:
            st.rerun()
        if live:
            _forget_the_imports()

    st.fragment(tick, run_every=EVERY_SECONDS if live else None)()


def ticked() -> bool:
    """Return whether this run was triggered by the timer, which means that the user has stayed on the page."""
    context = get_script_run_ctx()
    return context is not None and bool(context.fragment_ids_this_run)


@st.cache_resource(show_spinner=False)
def _forget_the_imports() -> None:
    """Freeze the objects created by imports, once, when the first live page is drawn.

    Streamlit collects garbage after every refresh, and need not scan pandas, Plotly and other imports each time.
    """
    room_for_names()
    gc.collect()
    gc.freeze()
