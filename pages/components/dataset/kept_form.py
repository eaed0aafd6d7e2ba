"""Stores the input of a form on disk, so that a refreshed page or a new tab shows it.

Each widget is also drawn with its value as default, by `held` or `place`: a value set only under its key is sent to the
browser once, and lost if the run that sets it is superseded by the next one.
"""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from core.ground.files import read_json, write_json
from core.ground.workspace import Workspace


def restore(workspace: Workspace, form: str, usual: dict[str, Any]) -> None:
    """Before drawing a form, set each of its widgets, by key, to its last value, else the default."""
    missing = [key for key in usual if key not in st.session_state]
    if not missing:
        return
    kept = read_json(workspace.drafts / f"form-{form}.json") or {}
    for key in missing:
        value = kept.get(key, usual[key])
        st.session_state[key] = value if usual[key] is None or isinstance(value, type(usual[key])) else usual[key]


def held(key: str) -> Any:
    """Return the value under a widget's key, to draw it with."""
    return st.session_state.get(key)


def place(key: str, options: Sequence[Any]) -> int:
    """Return the same as an index into options; the first one if the value is not among them."""
    value = held(key)
    return options.index(value) if value in options else 0


def line(label: str, key: str, example: str) -> str:
    """Draw a line of text in a form, with `example` as placeholder."""
    return st.text_input(label, held(key), key=key, placeholder=example, persist_state="session")


def keep(workspace: Workspace, form: str, keys: list[str]) -> None:
    """After drawing a form, store its current input."""
    path = workspace.drafts / f"form-{form}.json"
    now = {key: st.session_state[key] for key in keys if key in st.session_state}
    before = read_json(path) or {}
    if now and {**before, **now} != before:
        write_json(path, {**before, **now})


def forget(workspace: Workspace, form: str, keys: list[str]) -> None:
    """Reset a form to its defaults the next time it is drawn."""
    for key in keys:
        st.session_state.pop(key, None)
    (workspace.drafts / f"form-{form}.json").unlink(missing_ok=True)
