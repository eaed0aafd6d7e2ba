"""The preflight, computed in the background: verdict on top, each problem with its fix, the parts of each figure."""

from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooEarly
from dataclasses import dataclass

import streamlit as st

from core.config import config as configs
from core.config.check import gone
from core.config.config import Config
from core.data import dataset as datasets
from core.engine.config_file import SyntaxRefusal
from core.engine.measure import config_facts
from core.forecast.preflight import Preflight, preflight
from core.ground.errors import StudioError
from core.ground.figures import NONE, duration, size, size_of_mb
from core.ground.problem import Problem
from core.ground.workspace import Workspace
from core.training import history
from pages.components.beside import beside
from pages.components.config.form import stamp
from pages.components.contents import for_a_picture, next_button
from pages.components.gone import show_gone
from pages.components.live import ticked, while_live
from pages.components.plain import DONE, WRONG, plain
from pages.components.problems import show_problems, show_refusal
from pages.components.text import say, t

_KEY = "preflight"
# Points listed; further ones are abbreviated.
MOST_POINTS = 12
# A page is drawn without waiting longer than this; results already known are available by then.
PATIENCE_SECONDS = 0.2
# A screenshot is taken once and must contain the verdict.
PICTURE_SECONDS = 60.0


@dataclass(slots=True)
class _Asked:
    """The forecast that this session has requested: the state of the config, and the result."""

    stamp: str
    made: Future[Preflight] | None = None


def show_verdict(workspace: Workspace, config: Config, broken: SyntaxRefusal | None) -> Preflight | None:
    """Draw one card: whether the config can be trained, what that takes, and the next step; return the forecast.

    `broken` is why the last input is invalid, and takes precedence. None if the forecast is not ready, or there is
    nothing to forecast because the model or the dataset is gone.
    """
    if not broken and gone(workspace, config):
        with st.container(border=True, key="verdict"):
            show_gone(workspace, config)
        return None
    asked = None if broken else _asked(workspace, config)
    found, refused = _made(asked) if asked else (None, None)
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="verdict"):
        with st.container(gap=None):
            if broken is not None:
                st.markdown(f":red[{WRONG}] **{plain(say(broken.text))}**")
                st.caption(t("config.draft"))
            elif found is not None:
                _show_in_short(found)
            elif refused is not None:
                st.markdown(f":red[{WRONG}] **{plain(say(refused.text))}**")
            else:
                while_live(True, lambda: _wait(workspace, config, asked))
        fixes = _fixes(found) if found and _errors(found) else {}
        if fixes:
            _fix_button(workspace, config.name, fixes)
        else:
            _next(found)
    if found is not None:
        _problems(workspace, config, found)
    return found


def forget_forecast() -> None:
    """Discard the forecast, because its input has changed."""
    st.session_state.pop(_KEY, None)


def show_details(workspace: Workspace, config: Config, found: Preflight | None) -> None:
    """Draw all figures of the forecast with their parts, and the button that recomputes it."""
    st.caption(t("preflight.intro"))
    st.button(
        t("preflight.run"), icon=":material/refresh:", key="run_preflight", on_click=_begin, args=(workspace, config)
    )
    if found is None:
        return
    if found.iters:
        _figures(found)
        _points(found)
        _parts(found)
    elif not found.problems:
        show_problems([])


def _asked(workspace: Workspace, config: Config) -> _Asked:
    asked = st.session_state.get(_KEY)
    if asked is None or asked.stamp != stamp(config):
        asked = st.session_state[_KEY] = _Asked(stamp(config))
        if for_a_picture() or _measured(workspace, config):
            _begin(workspace, config)
            asked = st.session_state[_KEY]
    return asked


def _measured(workspace: Workspace, config: Config) -> bool:
    """Return whether the engine has already inspected exactly this config and need not be started."""
    try:
        dataset, model = datasets.find(workspace, config.dataset), configs.model_of(workspace, config)
        return bool(config_facts(workspace, config.file, dataset.sha256, model.path, ask=False))
    except StudioError:
        return False


def _begin(workspace: Workspace, config: Config) -> None:
    asked = st.session_state[_KEY] = _Asked(stamp(config))
    asked.made = beside(lambda: preflight(workspace, config, history.measured(workspace)))


def _made(asked: _Asked) -> tuple[Preflight | None, StudioError | None]:
    if asked.made is None:
        return None, None
    try:
        return asked.made.result(PICTURE_SECONDS if for_a_picture() else PATIENCE_SECONDS), None
    except TooEarly:
        return None, None
    except StudioError as error:
        return None, error


def _wait(workspace: Workspace, config: Config, asked: _Asked) -> bool:
    """Draw that it is being computed, and start once the user stays on the page; return whether it is in progress."""
    st.markdown(t("preflight.running"))
    st.caption(t("preflight.takes"))
    if asked.made is None and ticked():
        _begin(workspace, config)
        asked.made = st.session_state[_KEY].made
    return asked.made is None or not asked.made.done()


def _show_in_short(found: Preflight) -> None:
    wrong = len(_errors(found))
    warned = len(found.problems) - wrong
    if wrong:
        st.markdown(f":red[{WRONG}] **{t('preflight.not_ready', count=wrong)}**")
    elif warned:
        st.markdown(f":orange[:material/warning:] **{t('preflight.ready_but', count=warned)}**")
    else:
        st.markdown(f":green[{DONE}] **{t('preflight.ready')}**")
    if found.iters:
        st.caption(
            t(
                "preflight.short",
                updates=f"{found.optimizer_updates:,}",
                time=say(duration(found.estimated_seconds)),
                memory=size_of_mb(found.estimated_total_mb),
                free=size_of_mb(found.free_memory_mb),
            )
        )


def _figures(found: Preflight) -> None:
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
    # Row by row, so that the order is the same on a narrow screen, where columns are stacked.
    shown = list(figures.items())
    for first in range(0, len(shown), 4):
        for column, (name, value) in zip(st.columns(4), shown[first : first + 4], strict=True):
            column.metric(
                t(f"preflight.{name}"), value, border=True, height="stretch", help=t(f"preflight.{name}_help")
            )


def _points(found: Preflight) -> None:
    """Draw when it answers and saves. At the end XTuner answers twice: after the last iteration, and after training."""
    for name, points in (("evaluated_at", found.evaluated_at), ("saved_at", found.saved_at)):
        once = list(dict.fromkeys(points))
        shown = ", ".join(map(str, once[:MOST_POINTS])) + (" …" if len(once) > MOST_POINTS else "")
        again = t("preflight.again") if name == "evaluated_at" and len(once) < len(points) else ""
        st.caption(t(f"preflight.{name}", points=(shown or NONE) + again))


def _parts(found: Preflight) -> None:
    """Draw the parts of memory and time, each with its formula."""
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


def _problems(workspace: Workspace, config: Config, found: Preflight) -> None:
    """Draw each problem with its fix, except the fix already in the card."""
    in_card = _fixes(found) if _errors(found) else {}
    for number, problem in enumerate(found.problems):
        show_problems([problem])
        if problem.fix and problem.fix != in_card:
            said = ", ".join(f"{name}={value}" for name, value in problem.fix.items())
            st.button(
                t("preflight.fix", settings=plain(said)),
                icon=":material/build:",
                key=f"fix-{number}-{problem.where}",
                on_click=_fix,
                args=(workspace, config.name, problem.fix),
            )


def _errors(found: Preflight) -> list[Problem]:
    return [problem for problem in found.problems if problem.severity == "error"]


def _next(found: Preflight | None) -> None:
    """Draw the button to the training, or to where a missing model is found."""
    if found and any(problem.where == "model" for problem in _errors(found)):
        next_button("setup")
    else:
        next_button("train", t("config.to_train"))


def _fixes(found: Preflight) -> dict:
    """Return all settings that fix a problem; if two problems change the same one, the first wins."""
    mendable = [problem for problem in found.problems if problem.fix]
    return {name: value for one in reversed(mendable) for name, value in one.fix.items()}


def _fix_button(workspace: Workspace, name: str, settings: dict) -> None:
    st.button(
        t("preflight.fix_all"),
        type="primary",
        icon=":material/build:",
        key="fix_all",
        on_click=_fix,
        args=(workspace, name, settings),
    )


def _fix(workspace: Workspace, name: str, settings: dict) -> None:
    try:
        configs.change(workspace, name, settings)
    except StudioError as error:
        show_refusal(error)
