"""Where a model comes from: a copy on this machine, a hub, or created here."""

from pathlib import Path

import streamlit as st

from core.ground.workspace import Workspace
from core.models import model as models
from core.models import shared as shared_models
from core.models.agreed import origin
from core.models.hub import download
from core.models.hub.download import COURSE, ENDPOINTS, Source
from pages.components.plain import DONE, plain
from pages.components.problems import refusals
from pages.components.setup.models import show_build
from pages.components.text import t

_OTHER = "other"
_TOKEN = "download_token"


@st.cache_data(ttl=60, max_entries=4, show_spinner=False)
def _shared() -> list[str]:
    return [str(path) for path in shared_models.on_this_machine()]


def show_sources(workspace: Workspace, *, busy: bool) -> None:
    """Draw the three ways to a model as tabs, of which only the open one is drawn."""
    labels = [t("models.by_link"), t("models.by_download"), t("models.by_build")]
    link, fetch, build = st.tabs(labels, key="sources_tab", on_change="rerun")
    if link.open:
        with link:
            _show_link_form(workspace)
    elif fetch.open:
        with fetch:
            _show_unfinished(workspace, busy=busy)
            _show_download_form(workspace, busy=busy)
    else:
        with build:
            show_build(workspace, busy=busy)


def _show_link_form(workspace: Workspace) -> None:
    """Link a directory of this machine, as the course does with its shared copy."""
    linked = {str(origin(model.path)) for model in models.every(workspace)}
    shared = [path for path in _shared() if str(Path(path).resolve()) not in linked]
    st.caption(t("models.link_intro"))
    if shared:
        st.markdown(t("models.shared", count=len(shared)))
        left, right = st.columns([5, 1], vertical_alignment="bottom")
        chosen = left.selectbox(t("models.shared_one"), shared, key="shared_model")
        if right.button(t("models.link"), icon=":material/link:", width="stretch", key="link_shared"):
            _link(workspace, chosen, None)
    elif not linked:
        st.caption(t("models.no_shared", places=plain(", ".join(map(str, _places())))))
    with st.form("link_model", border=False):
        left, middle, right = st.columns([4, 2, 1], vertical_alignment="bottom")
        path = left.text_input(
            t("models.path"),
            key="link_path",
            placeholder="/root/share/new_models/Shanghai_AI_Laboratory/internlm2-chat-1_8b",
            persist_state="session",
        )
        name = middle.text_input(
            t("models.link_name"), key="link_name", help=t("models.link_name_help"), persist_state="session"
        )
        if right.form_submit_button(t("models.link"), icon=":material/link:", width="stretch", key="link_model_submit"):
            _link(workspace, path, name or None)


def _places() -> list[Path]:
    return [Path("/root/share/new_models"), Path("/share/new_models")]


def _link(workspace: Workspace, path: str, name: str | None) -> None:
    with refusals():
        linked = models.link(workspace, path, name)
        st.toast(t("models.linked", name=linked.name), icon=DONE)
        st.rerun()


def _show_unfinished(workspace: Workspace, *, busy: bool) -> None:
    """Draw interrupted downloads: resume, or discard what has arrived."""
    running = download.latest(workspace)
    live = running.spec.get("facts", {}).get("name") if running and running.status().live else None
    for name, source in download.unfinished(workspace).items():
        if name == live:
            continue
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(t("download.unfinished", name=plain(name), repository=plain(source.repository)))
            if st.button(t("download.resume"), icon=":material/resume:", key=f"resume-{name}", disabled=busy):
                with refusals():
                    download.start(workspace, source, name, st.session_state.get(_TOKEN))
                    st.rerun()
            with st.popover(t("download.discard"), icon=":material/delete:"):
                st.markdown(t("download.discard_sure", name=plain(name)))
                if st.button(t("download.discard"), type="primary", key=f"discard-{name}"):
                    with refusals():
                        download.discard(workspace, name)
                        st.rerun()


def _show_download_form(workspace: Workspace, *, busy: bool) -> None:
    """Choose what to download from where. The token stays in the session and is only passed to the download process."""
    st.caption(t("download.intro"))
    hub = st.segmented_control(
        t("download.hub"),
        list(ENDPOINTS),
        default="modelscope",
        required=True,
        format_func=lambda name: t(f"download.{name}"),
        key="download_hub",
        persist_state="session",
    )
    left, right = st.columns(2)
    repository = left.text_input(
        t("download.repository"), COURSE[hub], key=f"download_repository_{hub}", persist_state="session"
    )
    address = right.selectbox(
        t("download.endpoint"),
        (*ENDPOINTS[hub], _OTHER),
        format_func=lambda one: t("download.other") if one == _OTHER else one,
        key=f"download_endpoint_{hub}",
        help=t("download.endpoint_help"),
        persist_state="session",
    )
    if address == _OTHER:
        address = right.text_input(
            t("download.address"), key="download_address", placeholder="https://hf-mirror.com", persist_state="session"
        )
    left, middle, right = st.columns(3)
    name = left.text_input(
        t("models.link_name"), key="download_name", help=t("models.link_name_help"), persist_state="session"
    )
    revision = middle.text_input(
        t("download.revision"), key="download_revision", placeholder="main / master", persist_state="session"
    )
    token = right.text_input(
        t("download.token"),
        key=_TOKEN,
        type="password",
        help=t("download.token_help"),
        autocomplete="off",
        persist_state="session",
    )
    if st.button(t("download.start"), icon=":material/download:", key="download_start", disabled=busy):
        with refusals():
            download.start(workspace, Source.of(hub, repository, revision, address), name or None, token)
            st.rerun()
