"""The Python of a config: what is typed goes into the file as soon as it is Python, and is kept while it is not.

Above it one step back and forward; below it what differs from the preset, always.
"""

import streamlit as st

from core.config import config as configs
from core.config.config import Config
from core.engine.config_file import ConfigFile, SyntaxRefusal
from core.ground.workspace import Workspace
from pages.components.plain import plain
from pages.components.text import say, t

AROUND = 3


def syntax_error(config: Config) -> SyntaxRefusal | None:
    """What is wrong with the draft of a config; None where there is none, and the editor and the file agree."""
    draft = config.versions.draft
    if draft is None:
        return None
    try:
        ConfigFile(draft)
    except SyntaxRefusal as error:
        return error
    return None


def show_editor(workspace: Workspace, config: Config) -> None:
    """Draw the editor, its error at the line, and the diff."""
    versions, key = config.versions, f"text-{config.name}"
    _steps(workspace, config)
    draft = versions.draft
    text = config.text() if draft is None else draft
    if st.session_state.get(key) != text:
        st.session_state[key] = text
    # A program is read by its columns.
    st.html("<style>.st-key-config_text textarea { font-family: monospace; font-size: 0.8rem; tab-size: 4; }</style>")
    st.container(key="config_text").text_area(
        t("config.text"),
        height=460,
        key=key,
        label_visibility="collapsed",
        on_change=_typed,
        args=(workspace, config.name, key),
    )
    error = syntax_error(config)
    if error is None:
        st.caption(t("config.text_help"))
    else:
        st.error(f"{plain(say(error.text))}  \n{t('config.draft')}", icon=":material/error:")
        _at_line(text, error.line)
    st.markdown(f"**{t('config.diff')}**")
    st.code(config.diff() or t("config.no_diff"), language="diff", wrap_lines=True, height=360)


def _steps(workspace: Workspace, config: Config) -> None:
    versions = config.versions
    with st.container(horizontal=True):
        for by, name, icon, there in (
            (-1, "undo", ":material/undo:", versions.can_undo),
            (1, "redo", ":material/redo:", versions.can_redo),
        ):
            st.button(
                t(f"config.{name}"),
                icon=icon,
                key=name,
                disabled=not there or versions.draft is not None,
                on_click=configs.step,
                args=(workspace, config.name, by),
            )
        if versions.draft is not None:
            st.button(
                t("config.discard"),
                icon=":material/delete:",
                key="discard_draft",
                on_click=versions.drop_draft,
            )


def _typed(workspace: Workspace, name: str, key: str) -> None:
    text = st.session_state[key]
    try:
        configs.replace_text(workspace, name, text, typed=True)
    except SyntaxRefusal:
        configs.find(workspace, name).versions.keep_draft(text)


def _at_line(text: str, line: int) -> None:
    """The lines around a fault, the faulty one marked."""
    lines = text.splitlines() or [""]
    first = max(0, line - 1 - AROUND)
    shown = [
        f"{'>' if number == line else ' '} {number:4}  {content}"
        for number, content in enumerate(lines[first : line + AROUND], first + 1)
    ]
    st.code("\n".join(shown), language=None)
