"""What is typed into a form is kept on disk, so that a refreshed page or a new tab shows it as it was.

Each widget is also drawn with that value of its own, by `held` or `place`: what is set under its key alone goes to the
browser once, and is lost where the run that sets it gives way to the next one.
"""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from core.ground.files import read_json, write_json
from core.ground.workspace import Workspace


def restore(workspace: Workspace, form: str, usual: dict[str, Any]) -> None:
    """Before a form is drawn: give each of its widgets, by key, what was last in it, else what is usual."""
    missing = [key for key in usual if key not in st.session_state]
    if not missing:
        return
    kept = read_json(workspace.drafts / f"form-{form}.json") or {}
    for key in missing:
        value = kept.get(key, usual[key])
        st.session_state[key] = value if usual[key] is None or isinstance(value, type(usual[key])) else usual[key]


def held(key: str) -> Any:
    """What a widget is drawn with: the value that is under its key."""
    return st.session_state.get(key)


def place(key: str, options: Sequence[Any]) -> int:
    """The same for a choice among options, by its index; the first where the value is none of them."""
    value = held(key)
    return options.index(value) if value in options else 0


def line(label: str, key: str, example: str) -> str:
    """A line of text in a form; `example` stands in it while it is empty."""
    return st.text_input(label, held(key), key=key, placeholder=example, persist_state="session")


def keep(workspace: Workspace, form: str, keys: list[str]) -> None:
    """After a form was drawn: keep what is in it now."""
    path = workspace.drafts / f"form-{form}.json"
    now = {key: st.session_state[key] for key in keys if key in st.session_state}
    before = read_json(path) or {}
    if now and {**before, **now} != before:
        write_json(path, {**before, **now})


def forget(workspace: Workspace, form: str, keys: list[str]) -> None:
    """Empty a form: the next time that it is drawn it is as usual."""
    for key in keys:
        st.session_state.pop(key, None)
    (workspace.drafts / f"form-{form}.json").unlink(missing_ok=True)
