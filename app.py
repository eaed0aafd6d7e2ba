"""XTuner Studio: fine-tune InternLM2 into your own assistant, in a browser.

`make run`, or `streamlit run app.py`. Lists the pages; each page is complete without this file.
"""

import gc

import streamlit as st

from pages.components.contents import list_pages


@st.cache_resource(show_spinner=False)
def forget_the_imports() -> None:
    """Once, after the imports: Streamlit collects garbage after every run, and need not look at modules each time."""
    gc.collect()
    gc.freeze()


page = list_pages()
forget_the_imports()
page.run()
