"""Asks for permission to run the code that comes with a model, and shows it; once, and again when it changes."""

import contextlib
from hashlib import sha256
from pathlib import Path

import streamlit as st

from core.ground.files import read_start
from core.ground.model_code import MOST_BYTES as LARGEST
from core.ground.workspace import Workspace
from core.models import model as models
from core.models import trust
from core.models.model import Model
from pages.components.plain import DONE, plain
from pages.components.problems import refusals
from pages.components.setup.sections import open_section
from pages.components.text import t

MOST_BYTES = 200_000


def waiting(workspace: Workspace) -> list[tuple[Model, trust.Code]]:
    """Return the complete models that need permission, each with its code."""
    found = [(model, trust.code(workspace, model.path)) for model in models.every(workspace) if model.whole]
    return [(model, code) for model, code in found if not code.trusted]


def ask_for_leave(workspace: Workspace) -> None:
    """Draw a box for each complete model that needs permission."""
    for model, code in waiting(workspace):
        with st.container(border=True):
            _ask(workspace, model, code)


def mention_who_waits(workspace: Workspace) -> None:
    """Draw one line if a model needs permission, with a link to where it is given."""
    names = [model.name for model, _ in waiting(workspace)]
    if names:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":orange[:material/shield_question:] {t('trust.waits', names=plain(', '.join(names)))}")
            st.button(t("trust.look"), key="trust_look", on_click=open_section, args=("models",))


def _ask(workspace: Workspace, model: Model, code: trust.Code) -> None:
    shown: dict[str, bytes] = {}
    kind = "changed" if code.changed else "new"
    st.warning(
        t(f"trust.{kind}", name=plain(model.name), files=plain(", ".join(code.asked))),
        icon=":material/shield_question:",
    )
    st.caption(t("trust.why"))
    with st.expander(t("trust.read", count=len(code.files)), icon=":material/code:"):
        for file in code.files:
            mark = t("trust.changed_mark") if file in code.changed else ""
            st.markdown(f"**{plain(file)}** {mark}")
            content = shown.setdefault(file, _content((code.directory or model.path) / file))
            st.caption(f"sha256 {sha256(content).hexdigest()}")
            text = content[:MOST_BYTES].decode("utf-8", errors="replace")
            st.code(text, language="python", line_numbers=True, height=320)
    if st.button(t("trust.agree", name=model.name), icon=":material/verified_user:", key=f"trust-{model.name}"):
        # Applies to the files as shown: if they have changed since, the user is asked again.
        with refusals():
            seen = {file: sha256(content).hexdigest() for file, content in shown.items()}
            trust.agree(workspace, model.path, seen)
            st.toast(t("trust.agreed", name=model.name), icon=DONE)
            st.rerun()


def _content(file: Path) -> bytes:
    """Return the content that is shown and agreed to; empty if the file has disappeared."""
    with contextlib.suppress(OSError):
        return read_start(file, LARGEST)
    return b""
