"""Asks for leave to run the code that comes with a model, with that code to be read; once, and again when it changes."""

import streamlit as st

from core.engine import model as models
from core.engine import trust
from core.engine.model import Model
from core.ground.workspace import Workspace
from pages.components.plain import DONE, plain
from pages.components.text import t

MOST_BYTES = 200_000


def ask_for_leave(workspace: Workspace) -> None:
    """A box for each whole model that waits for leave."""
    for model in models.every(workspace):
        if model.whole and not (code := trust.code(workspace, model.path)).trusted:
            with st.container(border=True):
                _ask(workspace, model, code)


def _ask(workspace: Workspace, model: Model, code: trust.Code) -> None:
    kind = "changed" if code.changed else "new"
    st.warning(
        t(f"trust.{kind}", name=plain(model.name), files=plain(", ".join(code.asked))),
        icon=":material/shield_question:",
    )
    st.caption(t("trust.why"))
    with st.expander(t("trust.read", count=len(code.files)), icon=":material/code:"):
        for file, digest in code.files.items():
            mark = t("trust.changed_mark") if file in code.changed else ""
            st.markdown(f"**{plain(file)}** {mark}")
            st.caption(f"sha256 {digest}")
            with (model.path / file).open("rb") as opened:
                text = opened.read(MOST_BYTES).decode("utf-8", errors="replace")
            st.code(text, language="python", line_numbers=True, height=320)
    if st.button(
        t("trust.agree", name=model.name), type="primary", icon=":material/verified_user:", key=f"trust-{model.name}"
    ):
        # The files as they were shown: should they have changed since, it is asked again.
        trust.agree(workspace, model.path, code.files)
        st.toast(t("trust.agreed", name=model.name), icon=DONE)
        st.rerun()
