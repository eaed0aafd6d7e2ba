"""Draws a page again if something it shows was deleted while it was drawn, by another tab or a command.

A page reads one snapshot after the other, and between two of them a run may be gone. The next drawing no longer shows
it. An error that remains is not hidden.
"""

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from core.ground.errors import BadInput

Drawn = TypeVar("Drawn")
_DRAWN_AGAIN = "drawn_again"


def again_if_gone(draw: Callable[[], Drawn]) -> Drawn:
    """Call `draw`, and rerun the page once if a file or an item is missing. Raises if it is missing again."""
    again = st.session_state.pop(_DRAWN_AGAIN, False)
    try:
        return draw()
    except (FileNotFoundError, BadInput):
        if again:
            raise
        st.session_state[_DRAWN_AGAIN] = True
        st.rerun()
