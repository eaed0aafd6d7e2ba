"""The settings of a chat: columns, system prompt, sampling; and the stored conversations."""

from collections.abc import Mapping

import streamlit as st

from core.chat import conversation as conversations
from core.chat import transcript
from core.chat.conversation import Conversation
from core.chat.side import Side
from core.chat.worker_client import Sampling
from core.ground.workspace import Workspace
from core.training.run import Run
from pages.components.chat.dialogue import begin_anew, keep
from pages.components.text import language, t

MOST_COLUMNS = 3


def side_names(sides: Mapping[str, Side], run: Run) -> dict[str, str]:
    """Return the display name of each side."""
    names = {}
    for key, side in sides.items():
        at = f" · {side.checkpoint}" if side.checkpoint else ""
        if key in ("base", "merged"):
            names[key] = t(f"chat.{key}")
        elif key == "tuned":
            names[key] = t("chat.tuned") + at
        else:
            names[key] = key if side.run == run.id else f"{side.run}{at}"
    return names


def choose_sides(sides: Mapping[str, Side], names: Mapping[str, str], run: Run) -> list[str]:
    """Choose the columns: base and tuned by default, three at most."""
    chosen = st.multiselect(
        t("chat.columns"),
        list(sides),
        default=[key for key in ("base", "tuned") if key in sides],
        format_func=lambda key: names[key],
        max_selections=MOST_COLUMNS,
        key=f"columns-{run.id}",
        help=t("chat.columns_help"),
    )
    return [key for key in sides if key in chosen]


def choose_sampling(conversation: Conversation, *, demo: bool) -> tuple[Sampling, bool, bool]:
    """Choose the sampling for all sides, whether earlier turns are sent, and whether differences are marked."""
    # The demo model was trained on single turns only, and drifts if it gets earlier ones.
    remember = st.toggle(
        t("chat.remember"), not demo, help=t("chat.remember_help"), key="chat_remember", persist_state="session"
    )
    mark = st.toggle(t("chat.mark"), True, help=t("chat.mark_help"), key="chat_mark", persist_state="session")
    conversation.system = st.text_area(
        t("chat.system"),
        conversation.system,
        key=f"system-{conversation.id}",
        height=68,
        help=t("chat.system_help"),
    )
    temperature = st.slider(
        t("chat.temperature"),
        0.0,
        2.0,
        0.0,
        0.1,
        key="chat_temperature",
        persist_state="session",
        help=t("chat.temperature_help"),
    )
    top_p = st.slider(
        t("chat.top_p"), 0.05, 1.0, 0.9, 0.05, key="chat_top_p", persist_state="session", disabled=not temperature
    )
    one, two = st.columns(2)
    most = one.number_input(t("chat.most"), 1, 2048, 256, 32, key="chat_most", persist_state="session")
    seed = two.number_input(
        t("chat.seed"),
        0,
        2**31 - 1,
        0,
        key="chat_seed",
        persist_state="session",
        disabled=not temperature,
        help=t("chat.seed_help"),
    )
    return Sampling(max_new_tokens=int(most), temperature=temperature, top_p=top_p, seed=int(seed)), remember, mark


def show_kept(workspace: Workspace, run: Run, conversation: Conversation, names: Mapping[str, str]) -> None:
    """Popover to switch to another conversation, delete this one, or export it."""
    kept = {one.id: one for one in conversations.every(workspace, run.id)}
    if not kept and not conversation.exchanges:
        return
    with st.popover(t("chat.conversations", count=len(kept)), icon=":material/forum:", type="tertiary"):
        known = conversation.id in kept
        chosen = st.selectbox(
            t("chat.go_to"),
            list(kept),
            index=list(kept).index(conversation.id) if known else None,
            format_func=lambda one: f"{kept[one].title} · {len(kept[one].exchanges)} · {one[:15]}",
            key=f"go-to-{conversation.id}",
        )
        if chosen and chosen != conversation.id:
            keep(kept[chosen])
            st.rerun()
        if not conversation.exchanges:
            return
        stem = f"chat-{conversation.id}"
        with st.container(horizontal=True):
            st.download_button(
                "Markdown",
                lambda: transcript.markdown(conversation, names, language()),
                f"{stem}.md",
                icon=":material/description:",
                key="export-markdown",
            )
            st.download_button(
                "JSON",
                lambda: transcript.as_json(conversation, names),
                f"{stem}.json",
                icon=":material/data_object:",
                key="export-json",
            )

        def take_away() -> None:
            conversations.delete(workspace, conversation.id)
            begin_anew(run)

        st.button(t("chat.delete"), icon=":material/delete:", key="delete-chat", on_click=take_away)
