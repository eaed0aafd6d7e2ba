"""The machine at a glance: main figures, checks with the next step, and versions compared with those known to work."""

import streamlit as st

from core.engine import checkup
from core.ground.environment import Check
from core.ground.known_versions import KNOWN
from core.ground.workspace import Workspace
from pages.components.plain import plain, tick
from pages.components.setup.sections import open_section
from pages.components.text import say, t

GLANCE = ("gpu", "driver", "cuda", "memory", "disk")
_WORDS = (*GLANCE, "engine")


def show_machine(workspace: Workspace) -> None:
    """Draw the figures, problems with their next step, and a table of all checks."""
    found = checkup.checks(workspace)
    by_name = {check.name: check for check in found}
    with st.container(horizontal=True):
        for name in GLANCE:
            _figure(by_name[name])
    wrong = [check for check in found if not check.ok]
    if not wrong:
        st.success(t("checks.fine"), icon=":material/check_circle:")
    for check in wrong:
        st.error(f"**{_name(check.name)}** {plain(check.value)}  \n{plain(say(check.hint))}", icon=":material/error:")
    for check in found:
        if check.ok and check.hint and check.name == "engine":
            _offer_the_check()
        elif check.ok and check.hint:
            st.info(f"**{_name(check.name)}** {plain(say(check.hint))}", icon=":material/info:")
    st.table(
        [
            {
                t("checks.item"): _name(check.name),
                t("checks.value"): plain(check.value) if check.value != "-" else t("checks.none"),
                t("checks.known"): _known(check.name),
                # What is not there is neither right nor wrong.
                t("checks.ok"): "" if check.ok and "-" in check.value.split(" / ") else tick(check.ok),
            }
            for check in found
        ],
        hide_index=True,
        border="horizontal",
    )


def _offer_the_check() -> None:
    """Say that the engine can be checked more thoroughly, and lead there."""
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(t("checks.unchecked"), width="stretch")
        st.button(t("checks.to_engine"), key="to_engine", on_click=open_section, args=("engine",))


def _figure(check: Check) -> None:
    with st.container(border=True, width=180, height="stretch"):
        st.caption(_name(check.name))
        st.markdown(f"**{plain(check.value)}**" if check.value != "-" else t("checks.none"))


def _known(name: str) -> str:
    """Return the versions that were tested, with the reason."""
    if name not in KNOWN:
        return ""
    tried = ", ".join(one.removeprefix("==").removesuffix(".*") for one in KNOWN[name].works.split("|"))
    return f"{plain(tried)} · {plain(say(KNOWN[name].why))}"


def _name(name: str) -> str:
    return t(f"checks.{name}") if name in _WORDS else name
