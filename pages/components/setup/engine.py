"""The engine: the Python that trains, choosing another one, and its thorough check with `xtuner version` and `help`."""

import streamlit as st

from core.engine import checkup, interpreter
from core.engine.checkup import Checkup
from core.engine.interpreter import Engine
from core.ground.errors import StudioError
from core.ground.figures import size
from core.ground.workspace import Workspace
from pages.components.plain import DONE, plain, tick
from pages.components.problems import refusals, show_refusal
from pages.components.text import language, t

# The course's environment with the pins it lacks today: newer packages are incompatible with it.
INSTALL = """conda create -n xtuner0121 python=3.10 -y
conda activate xtuner0121
pip install torch==2.1.2 torchvision==0.16.2 transformers==4.39.3 xtuner==0.1.21 deepspeed==0.14.4
pip install peft==0.11.1 accelerate==0.30.1 "datasets<3" "setuptools<80" "numpy<2"
which python"""


def show_engine(workspace: Workspace, *, busy: bool) -> None:
    """Draw the selected engine, its check, and the form to choose another."""
    try:
        engine = interpreter.in_use(workspace)
    except StudioError as error:
        show_refusal(error)
    else:
        _show_in_use(engine)
        show_checkup(workspace, engine, busy=busy)
    st.divider()
    _show_choice(workspace, busy=busy)


def _show_in_use(engine: Engine) -> None:
    st.markdown(t("engine.own") if engine.own else t("engine.chosen"))
    st.code(engine.python, language=None, wrap_lines=True)
    versions = [f"{name} {engine.versions[name]}" for name in ("python", "xtuner", "torch", "transformers")]
    st.caption(" · ".join(versions) + f" · CUDA {engine.torch_cuda or '-'}")


def show_checkup(workspace: Workspace, engine: Engine, *, busy: bool) -> None:
    """Draw the last thorough check, or the button for it."""
    found = checkup.last(workspace, engine)
    if found is None:
        st.info(t("engine.unchecked"), icon=":material/info:")
    elif found.failed:
        for load in found.failed:
            st.error(f"**import {plain(load['module'])}** {plain(load['error'])}", icon=":material/error:")
    else:
        st.success(t("engine.checked"), icon=":material/check_circle:")
    if st.button(
        t("engine.check") if found is None else t("engine.check_again"),
        icon=":material/fact_check:",
        key="engine_check",
        disabled=busy,
    ):
        with refusals():
            checkup.start(workspace, engine, language=language())
            st.rerun()
    if found is not None:
        show_command_line(found)
        _show_loads(found)


def show_command_line(found: Checkup) -> None:
    """Draw the output of `xtuner version` and `xtuner help`, which the course asks for."""
    st.code(f"$ xtuner version\n{found.xtuner_version}", language=None, wrap_lines=True)
    with st.expander("`xtuner help`", icon=":material/terminal:"):
        st.code(f"$ xtuner help\n{found.xtuner_help}", language=None, height=360)


def _show_loads(found: Checkup) -> None:
    with st.expander(t("engine.loads"), icon=":material/inventory_2:"):
        st.table(
            [
                {
                    t("engine.module"): plain(load["module"]),
                    t("engine.seconds"): f"{load['seconds']:.1f}",
                    t("checks.ok"): tick(load["ok"]),
                }
                for load in found.loads
            ],
            hide_index=True,
            border="horizontal",
        )
        devices = found.cuda["devices"]
        if not devices:
            st.caption(t("engine.no_cuda"))
        for device in devices:
            free, total = size(device["free"]), size(device["total"])
            st.caption(t("engine.cuda", name=plain(device["name"]), free=free, total=total, bf16=device["bf16"]))


def _show_choice(workspace: Workspace, *, busy: bool) -> None:
    """Choose another Python for the engine; the app keeps its own."""
    st.markdown(t("engine.intro"))
    if interpreter.chosen_by_environment():
        st.info(t("engine.by_environment", name=interpreter.ENVIRONMENT), icon=":material/info:")
        return
    nearby = interpreter.nearby()
    if nearby:
        st.caption(t("engine.nearby"))
        st.code("\n".join(nearby), language=None)
    with st.form("engine", border=False):
        left, right = st.columns([4, 1], vertical_alignment="bottom")
        path = left.text_input(
            t("engine.path"),
            key="engine_path",
            placeholder=nearby[0] if nearby else "/root/.conda/envs/xtuner0121/bin/python",
            persist_state="session",
        )
        if right.form_submit_button(
            t("engine.use"), icon=":material/swap_horiz:", width="stretch", key="engine_use", disabled=busy
        ):
            with refusals():
                checkup.start(workspace, interpreter.candidate(workspace, path), adopted=True, language=language())
                st.rerun()
    if (workspace.settings / "engine.json").exists() and st.button(
        t("engine.back"), icon=":material/undo:", key="engine_own"
    ):
        with refusals():
            interpreter.use(workspace, interpreter.candidate(workspace, interpreter.OWN))
            st.toast(t("engine.back_done"), icon=DONE)
            st.rerun()
    with st.expander(t("engine.how"), icon=":material/help:"):
        st.markdown(t("engine.how_text"))
        st.code(INSTALL, language="bash", wrap_lines=True)
