"""What was deleted and is still needed: a sentence that says so, and the button to where it is made again."""

import os

import streamlit as st

from core.config.check import gone
from core.config.config import Config
from core.ground.workspace import Workspace
from core.training.run import Run
from pages.components.contents import next_button, show_outcome
from pages.components.plain import WRONG, plain
from pages.components.text import t

_MADE_ON = {"model": "setup", "dataset": "dataset"}


def show_gone(workspace: Workspace, config: Config, *, primary: bool = True) -> bool:
    """Draw what a config is for and the workspace no longer has, with the button; return whether there is such a thing."""
    what = gone(workspace, config)
    if what is None:
        return False
    with st.container(horizontal=True, vertical_alignment="center"):
        name = plain(getattr(config, what))
        st.markdown(f":red[{WRONG}] {t(f'gone.{what}', name=name)}", width="stretch")
        next_button(_MADE_ON[what], primary=primary, key="make_again")
    return True


def show_gone_base(run: Run) -> bool:
    """Draw the card of a run whose base model is gone; return whether it is."""
    there = os.path.lexists(run.model_path)
    if not there:
        show_outcome(t("gone.base", name=plain(run.facts.model.name)), "setup")
    return not there
