"""The tunnel to this machine: a form, the command for each kind of computer, and whether it exists already."""

import streamlit as st

from core.ground.errors import StudioError
from core.ground.tunnel import Tunnel, explanation, login_of_server, reached_by
from pages.components.plain import plain
from pages.components.problems import show_refusal
from pages.components.text import say, t


def show_tunnel() -> None:
    """Draw the form that turns an address into the command to run on the user's own computer."""
    reached = reached_by(dict(st.context.headers), st.context.ip_address)
    box, icon = (st.info, "info") if reached == "here_or_tunnel" else (st.success, "check_circle")
    box(say(explanation(reached)), icon=f":material/{icon}:")
    st.markdown(t("tunnel.intro"))
    known = login_of_server()
    left, middle, right = st.columns([3, 1, 1])
    host = left.text_input(
        t("tunnel.host"), "ssh.intern-ai.org.cn", key="tunnel_host", help=t("tunnel.host_help"), persist_state="session"
    )
    port = middle.text_input(t("tunnel.port"), "22", key="tunnel_port", persist_state="session")
    user = right.text_input(t("tunnel.user"), known["user"], key="tunnel_user", persist_state="session")
    shared = st.toggle(t("tunnel.shared"), key="tunnel_shared", persist_state="session", help=t("tunnel.shared_help"))
    try:
        tunnel = Tunnel.of(host, port, user, int(st.get_option("server.port")), shared=shared)
    except StudioError as error:
        show_refusal(error)
        return
    windows, terminal = st.columns(2)
    with windows:
        st.markdown(t("tunnel.powershell"))
        st.code(tunnel.command("powershell"), language="powershell", wrap_lines=True)
    with terminal:
        st.markdown(t("tunnel.terminal"))
        st.code(tunnel.command("terminal"), language="bash", wrap_lines=True)
    st.markdown(t("tunnel.then", url=tunnel.address))
    with st.expander(t("tunnel.trouble"), icon=":material/help:"):
        st.markdown(t("tunnel.trouble_text", port=tunnel.app_port, next=tunnel.app_port + 1))
    if "client" in known:
        st.caption(t("tunnel.login", client=plain(known["client"])))
