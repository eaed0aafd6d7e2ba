"""Redraws while something runs. Use one per page: a second timer can lose what the page draws after it."""

import gc
from collections.abc import Callable

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

EVERY_SECONDS = 2


def while_live(live: bool, draw: Callable[[], bool]) -> None:
    """Call `draw`, and again every two seconds while `live`. `draw` returns whether it still is; once it is not, the
    entire page is redrawn without the timer.
    """

    def tick() -> None:
        if not draw() and live:
            st.rerun()
        if live:
            _forget_the_imports()

    st.fragment(tick, run_every=EVERY_SECONDS if live else None)()


def ticked() -> bool:
    """Whether it is the timer that draws, and not the page: somebody has stayed."""
    context = get_script_run_ctx()
    return context is not None and bool(context.fragment_ids_this_run)


@st.cache_resource(show_spinner=False)
def _forget_the_imports() -> None:
    """Once, when the first live page is drawn: Streamlit collects garbage after every refresh, and need not look each
    time at what drawing has loaded, a pandas and a Plotly among it.
    """
    gc.collect()
    gc.freeze()
