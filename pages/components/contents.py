"""The pages in the order of the work: file and icon of each, and links to them. Draws no page."""

from dataclasses import dataclass

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from pages.components.text import t


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page; its title and texts are in the locales, under its name."""

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
    """The tab and the menu, in the user's language and with icons. Returns the page that is asked for, to be run."""
    st.session_state[_LISTED] = True
    # The icon is given, and an emoji: the pages' own would be fetched from another host to become the tab's.
    st.set_page_config(page_title="XTuner Studio", page_icon="🎓", layout="wide")
    return st.navigation(
        [st.Page(page.file, title=page.title, icon=page.icon, default=page is PAGES[0]) for page in PAGES],
        position="hidden" if for_a_picture() else "sidebar",
    )


def for_a_picture() -> bool:
    """Whether the page is drawn to have its picture taken: `?shot=1`, best with Streamlit's own `&embed=true`."""
    return st.query_params.get("shot") == "1"


def make_up_for_the_menu() -> None:
    """List the pages where a page was opened before `app.py` was: the first address after a start of the server.

    Streamlit then makes a menu of file names, until somebody lists the pages; from there on it goes through `app.py`.
    """
    if not st.session_state.get(_LISTED):
        list_pages()
        st.rerun()


def link_to(name: str, label: str | None = None, icon: str | None = None, **query: str) -> None:
    """A link to the page `name`, under its title if no other label is given; `query` goes into the address."""
    page = BY_NAME[name]
    st.page_link(page.file, label=label or page.title, icon=icon or page.icon, query_params=query or None)


def next_button(name: str, label: str | None = None, *, primary: bool = True, key: str = "next", **query: str) -> None:
    """The button that leads on to the page `name`. Of a page's buttons one is primary: the next step."""
    page = BY_NAME[name]
    if st.button(
        label or t("contents.go", page=page.title),
        type="primary" if primary else "secondary",
        icon=":material/arrow_forward:",
        key=key,
    ):
        st.switch_page(page.file, query_params=query or None)


def show_outcome(words: str, name: str, label: str | None = None, *, primary: bool = True) -> None:
    """What came of a page, and the button to where it goes on: `name`. Stands at the top, where nobody has to look for it."""
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="outcome"):
        st.markdown(words, width="stretch")
        next_button(name, label, primary=primary)


def nothing_yet(message: str, next_page: str | None = None) -> None:
    """An empty state: what is missing, and the button to where it is made."""
    if next_page:
        show_outcome(message, next_page)
    else:
        st.container(border=True).markdown(message)
