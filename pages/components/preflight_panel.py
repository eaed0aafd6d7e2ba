"""The forecast of a training: its numbers and problems, kept until the config changes."""

import streamlit as st

from core.config.config import Config
from core.config.preflight import Preflight, preflight
from core.ground.workspace import Workspace
from core.training import history
from pages.components.config_form import stamp
from pages.components.figures import duration, size
from pages.components.problems import refusals, show_problems
from pages.components.text import t


def show_preflight(workspace: Workspace, config: Config) -> None:
    """The button, and the forecast for the config as it is now."""
    st.caption(t("preflight.intro"))
    if st.button(t("preflight.run"), icon=":material/fact_check:", key="run_preflight"):
        with refusals(), st.spinner(t("preflight.running"), show_time=True):
            st.session_state["preflight"] = (
                stamp(config),
                preflight(workspace, config, history.measured(workspace)),
            )
    for_config, found = st.session_state.get("preflight", (None, None))
    if for_config == stamp(config):
        _show(found)


def _show(found: Preflight) -> None:
    if found.iters:
        figures = {
            "rows": f"{found.rows:,}",
            "tokens": f"{found.tokens:,}",
            "packs": f"{found.packs:,}",
            "iters": f"{found.iters:,}",
            "updates": f"{found.optimizer_updates:,}",
            "evaluations": f"{found.evaluations:,}",
            "time": duration(found.estimated_seconds),
            "memory": size((found.estimated_memory_mb or 0) * 2**20),
        }
        columns = st.columns(4)
        for number, (name, value) in enumerate(figures.items()):
            columns[number % 4].metric(
                t(f"preflight.{name}"), value, border=True, height="stretch", help=t(f"preflight.{name}_help")
            )
    show_problems(found.problems)
