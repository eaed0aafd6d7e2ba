"""What the machine is: the checks with their versions, and the tunnel to it."""

import re

import streamlit as st

from core.ground import environment
from core.ground.workspace import Workspace
from pages.components.plain import plain, tick
from pages.components.text import say, t

_WORDS = ("disk", "memory", "gpu")


def show_checks(workspace: Workspace) -> None:
    """The checks of the machine; what will not do comes first and with what to do."""
    found = environment.checks(workspace.root)
    wrong = [check for check in found if not check.ok]
    st.subheader(t("machine.title"), anchor=False)
    if not wrong:
        st.success(t("machine.fine"), icon=":material/check_circle:")
    for check in wrong:
        st.error(f"**{_name(check.name)}** {plain(check.value)}  \n{plain(say(check.hint))}", icon=":material/error:")
    for check in found:
        if check.ok and check.hint:
            st.info(plain(say(check.hint)), icon=":material/info:")
    with st.expander(t("machine.details"), icon=":material/memory:"):
        st.table(
            [
                {
                    t("machine.item"): _name(check.name),
                    t("machine.value"): plain(check.value),
                    t("machine.ok"): tick(check.ok),
                }
                for check in found
            ],
            hide_index=True,
            border="horizontal",
        )


def show_tunnel() -> None:
    """From an address to the command that is run on one's own computer."""
    st.subheader(t("tunnel.title"), anchor=False)
    st.caption(t("tunnel.intro"))
    left, middle, right = st.columns([3, 1, 1])
    host = left.text_input(t("tunnel.host"), "ssh.intern-ai.org.cn", key="tunnel_host", persist_state="session")
    port = middle.number_input(t("tunnel.port"), 1, 65535, 22, key="tunnel_port", persist_state="session")
    user = right.text_input(t("tunnel.user"), "root", key="tunnel_user", persist_state="session")
    if not all(re.fullmatch(r"[\w.:-]+", part) for part in (host, user)):
        st.error(t("tunnel.wrong"), icon=":material/error:")
        return
    here = st.get_option("server.port")
    st.code(f"ssh -CN -L {here}:127.0.0.1:{here} -p {port} {user}@{host}", language="bash", wrap_lines=True)
    st.caption(t("tunnel.then", url=f"http://127.0.0.1:{here}"))


def _name(name: str) -> str:
    return t(f"machine.{name}") if name in _WORDS else name
