"""What every test of the pages begins with."""

import pytest
import streamlit as st


@pytest.fixture(autouse=True)
def nothing_is_cached() -> None:
    """Streamlit's cached data belong to the process, not to the page of a test: none are left from the tests before."""
    st.cache_data.clear()
