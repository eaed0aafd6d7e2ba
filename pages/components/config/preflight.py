"""The forecast of a training: its numbers, what they are made of, and every problem with the click that mends it."""

import streamlit as st

from core.config import config as configs
from core.config.config import Config
from core.forecast.preflight import Preflight, preflight
from core.ground.figures import NONE, duration, size, size_of_mb
from core.ground.problem import Problem
from core.ground.workspace import Workspace
from core.training import history
from pages.components.config.form import stamp
from pages.components.plain import plain
from pages.components.problems import refusals, show_problems
from pages.components.text import say, t

_AGAIN = "preflight_again"
# More points than this are told by their number.
MOST_POINTS = 12


def show_preflight(workspace: Workspace, config: Config) -> None:
    """The button, and the forecast for the config as it is now."""
    st.caption(t("preflight.intro"))
    asked = st.button(t("preflight.run"), icon=":material/fact_check:", type="primary", key="run_preflight")
    if asked or st.session_state.pop(_AGAIN, None) == config.name:
        with refusals(), st.spinner(t("preflight.running"), show_time=True):
            measured = history.measured(workspace)
            st.session_state["preflight"] = (stamp(config), preflight(workspace, config, measured))
    for_config, found = st.session_state.get("preflight", (None, None))
    if for_config == stamp(config):
        _show(workspace, config, found)
    elif found is not None:
        st.caption(t("preflight.stale"))


def _show(workspace: Workspace, config: Config, found: Preflight) -> None:
    if found.iters:
        figures = {
            "rows": f"{found.rows:,} ({found.unique_rows:,})",
            "tokens": f"{found.tokens:,}",
            "packs": f"{found.packs:,}",
            "iters": f"{found.iters:,}",
            "updates": f"{found.optimizer_updates:,}",
            "epochs": f"{found.epochs:g}",
            "evaluations": f"{found.evaluations:,}",
            "checkpoints": f"{found.checkpoints:,} · {size(found.checkpoints * found.checkpoint_bytes)}",
            "time": say(duration(found.estimated_seconds)),
            "memory": size_of_mb(found.estimated_total_mb),
            "free": size_of_mb(found.free_memory_mb),
            "device": found.device,
        }
        # Row by row: on a narrow screen, where columns come one below the other, in the same order.
        shown = list(figures.items())
        for first in range(0, len(shown), 4):
            for column, (name, value) in zip(st.columns(4), shown[first : first + 4], strict=True):
                column.metric(
                    t(f"preflight.{name}"), value, border=True, height="stretch", help=t(f"preflight.{name}_help")
                )
        _points(found)
        _parts(found)
    _problems(workspace, config, found.problems)


def _points(found: Preflight) -> None:
    """When it answers and saves."""
    for name, points in (("evaluated_at", found.evaluated_at), ("saved_at", found.saved_at)):
        shown = ", ".join(map(str, points[:MOST_POINTS])) + (" …" if len(points) > MOST_POINTS else "")
        st.caption(t(f"preflight.{name}", points=shown or NONE))


def _parts(found: Preflight) -> None:
    """What memory and time are made of, each part with its formula."""
    with st.expander(t("preflight.made_of"), icon=":material/functions:"):
        if found.memory:
            parts = [
                {
                    t("preflight.part"): say(part.label),
                    t("preflight.formula"): part.formula,
                    t("preflight.size"): size_of_mb(part.mb),
                }
                for part in found.memory.parts
            ]
            base = t("preflight.base_cuda" if found.memory.cuda else "preflight.base")
            parts.append(
                {
                    t("preflight.part"): base,
                    t("preflight.formula"): NONE,
                    t("preflight.size"): size_of_mb(found.memory.base_mb),
                }
            )
            st.table(parts, hide_index=True, border="horizontal")
        if found.duration:
            times = {part: say(duration(getattr(found.duration, part))) for part in ("start", "train", "answer")}
            st.markdown(t("preflight.times", **times))
        st.caption(t("preflight.calibrated" if found.calibrated else "preflight.uncalibrated"))


def _problems(workspace: Workspace, config: Config, problems: list[Problem]) -> None:
    # While a text that is no Python yet waits in the editor, it comes first.
    typing = config.versions.draft is not None
    mendable = [problem for problem in problems if problem.fix]
    if len(mendable) > 1:
        st.button(
            t("preflight.fix_all"),
            icon=":material/build:",
            key="fix_all",
            disabled=typing,
            on_click=_fix,
            args=(
                workspace,
                config.name,
                {name: value for one in reversed(mendable) for name, value in one.fix.items()},
            ),
        )
    if not problems:
        show_problems([])
    for number, problem in enumerate(problems):
        show_problems([problem])
        if problem.fix:
            said = ", ".join(f"{name}={value}" for name, value in problem.fix.items())
            st.button(
                t("preflight.fix", settings=plain(said)),
                icon=":material/build:",
                key=f"fix-{number}-{problem.where}",
                disabled=typing,
                on_click=_fix,
                args=(workspace, config.name, problem.fix),
            )


def _fix(workspace: Workspace, name: str, settings: dict) -> None:
    with refusals():
        configs.change(workspace, name, settings)
        st.session_state[_AGAIN] = name
