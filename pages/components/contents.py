"""The pages in the order of the work: file and icon of each, and links to them. Draws no page."""

from dataclasses import dataclass

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from pages.components.text import t


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page; its title and texts are in the locales, under its name."""

    name: str
    file: str
    icon: str

    @property
    def title(self) -> str:
        return t(f"{self.name}.title")


PAGES = tuple(
    Page(name=name, file=f"pages/{number}_{name}.py", icon=f":material/{icon}:")
    for number, (name, icon) in enumerate(
        (
            ("setup", "rocket_launch"),
            ("dataset", "database"),
            ("config", "tune"),
            ("train", "show_chart"),
            ("export", "deployed_code"),
            ("chat", "forum"),
            ("report", "description"),
        ),
        1,
    )
)
BY_NAME = {page.name: page for page in PAGES}


_LISTED = "pages_listed"


def list_pages() -> StreamlitPage:
    """Set up tab and menu, in the user's language and with icons. Returns the requested page, to be run."""
    st.session_state[_LISTED] = True
    # An explicit emoji icon: the pages' own icons would be fetched from another host for the tab.
    st.set_page_config(page_title="XTuner Studio", page_icon="🎓", layout="wide")
    return st.navigation(
        [st.Page(page.file, title=page.title, icon=page.icon, default=page is PAGES[0]) for page in PAGES],
        position="hidden" if for_a_picture() else "sidebar",
    )


def for_a_picture() -> bool:
    """Return whether the page is drawn for a screenshot: `?shot=1`, best with Streamlit's own `&embed=true`."""
    return st.query_params.get("shot") == "1"


def make_up_for_the_menu() -> None:
    """List the pages if a page was opened before `app.py`: the first URL after a start of the server.

    Streamlit then shows a menu of file names until somebody lists the pages; after that it runs `app.py`.
    """
    if not st.session_state.get(_LISTED):
        list_pages()
        st.rerun()


def link_to(name: str, label: str | None = None, icon: str | None = None, **query: str) -> None:
    """Draw a link to the page `name`, by default labeled with its title; `query` becomes part of the URL."""
    page = BY_NAME[name]
    st.page_link(page.file, label=label or page.title, icon=icon or page.icon, query_params=query or None)


def next_button(name: str, label: str | None = None, *, primary: bool = True, key: str = "next", **query: str) -> None:
    """Draw the button to the page `name`. One button of a page is primary: the next step."""
    page = BY_NAME[name]
    if st.button(
        label or t("contents.go", page=page.title),
        type="primary" if primary else "secondary",
        icon=":material/arrow_forward:",
        key=key,
    ):
        st.switch_page(page.file, query_params=query or None)


def show_outcome(words: str, name: str, label: str | None = None, *, primary: bool = True) -> None:
    """Draw the result of a page and the button to the next one, `name`, at the top where it is seen."""
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="outcome"):
        st.markdown(words, width="stretch")
        next_button(name, label, primary=primary)


def nothing_yet(message: str, next_page: str | None = None) -> None:
    """Draw an empty state: what is missing, and the button to where it is created."""
    if next_page:
        show_outcome(message, next_page)
    else:
        st.container(border=True).markdown(message)
