"""The Python text of a config: each edit is written to the file if it is valid Python, and to a draft otherwise.

A Streamlit text area; `editor.js` draws syntax colors, line numbers and the marked line behind its letters. Errors,
undo and redo are above it.
"""

from pathlib import Path

import streamlit as st

from core.config import config as configs
from core.config.config import Config
from core.engine.config_file import ConfigFile, SyntaxRefusal
from core.ground.workspace import Workspace
from pages.components.plain import plain
from pages.components.text import language, say, t

SCRIPT = (Path(__file__).with_name("editor.js")).read_text(encoding="utf-8").strip()
STYLE = (Path(__file__).with_name("editor.css")).read_text(encoding="utf-8").strip()


def syntax_error(config: Config) -> SyntaxRefusal | None:
    """Return the error in the draft of a config; None if there is no draft, so that editor and file agree."""
    draft = config.versions.draft
    if draft is None:
        return None
    try:
        ConfigFile(draft)
    except SyntaxRefusal as error:
        return error
    return None


def show_editor(workspace: Workspace, config: Config, *, told: bool) -> None:
    """Draw the editor, with the wrong line marked and instructions below; the error above unless the page has `told` it."""
    versions = config.versions
    error = syntax_error(config)
    if error is not None and not told:
        st.error(f"{plain(say(error.text))}  \n{t('config.draft')}", icon=":material/error:")
    _steps(workspace, config)
    draft = versions.draft
    text = config.text() if draft is None else draft
    key = _key(config, text)
    marked = f".st-key-config_text {{ --wrong-line: {error.line if error else 0}; }}"
    with st.container(key="config_text"):
        st.html(f"<style>{STYLE}\n{marked}</style>")
        st.text_area(
            t("config.text"),
            text,
            height=460,
            key=key,
            label_visibility="collapsed",
            on_change=_typed,
            args=(workspace, config.name, key),
        )
        st.html(f"<script>{SCRIPT}</script>", unsafe_allow_javascript=True)
    st.caption(t("config.text_help"))


def show_edits(config: Config) -> None:
    """Draw the difference from the preset, with reasons."""
    st.code(config.diff() or t("config.no_diff"), language="diff", wrap_lines=True, height=360)
    edits = config.facts.get("edits")
    if edits:
        st.markdown(f"**{t('config.whys')}**")
        st.table(
            [
                {t("config.place"): f"`{edit['path']}`", t("config.why"): plain(edit["why"][language()])}
                for edit in edits
            ],
            hide_index=True,
            border="horizontal",
        )


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


def _key(config: Config, text: str) -> str:
    """Return the editor's widget key, a new one whenever the text is not what was typed there.

    A text set under an existing key is sent to the browser once, and lost if the run that sets it is superseded by the
    next: the editor was then empty or out of date. A new editor is sent with its text.
    """
    last = f"editor-{config.name}"
    number = st.session_state.get(last, 0)
    if st.session_state.get(key := f"text-{config.name}-{number}", text) != text:
        st.session_state[last] = number + 1
        key = f"text-{config.name}-{number + 1}"
    return key


def _typed(workspace: Workspace, name: str, key: str) -> None:
    text = st.session_state[key]
    try:
        configs.replace_text(workspace, name, text, typed=True)
    except SyntaxRefusal:
        configs.find(workspace, name).versions.keep_draft(text)
