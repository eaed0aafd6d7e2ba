"""One conversation with both sides on the screen: what was said, and a new question answered as the words come."""

import time
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.chat import conversation as conversations
from core.chat.compare import Ask, Sampling, Worker
from core.chat.conversation import Conversation, Exchange
from core.ground.errors import StudioError
from core.ground.workspace import Workspace
from core.training.run import Run
from pages.components.figures import NONE
from pages.components.text import t

SIDES: tuple[str, ...] = ("base", "tuned")
# The browser is sent at most so many pictures of the growing answers a second.
PER_SECOND = 15
_URL = "conversation"


def current(workspace: Workspace, run: Run) -> Conversation:
    """The conversation of the URL, else the one that this tab had with the run, else an empty one."""
    for wanted in (st.query_params.get(_URL), st.session_state.get(f"conversation-{run.id}")):
        # An address may hold anything, a name that is none among it.
        with suppress(StudioError):
            found = conversations.load(workspace, wanted) if wanted else None
            if found and found.run == run.id:
                _keep(found)
                return found
    begin_anew(run)
    return conversations.Conversation(id=st.session_state[f"conversation-{run.id}"], run=run.id)


def begin_anew(run: Run) -> None:
    """Forget the conversation on the screen; its file stays."""
    _keep(conversations.new_conversation(run.id))


def suggested(questions: Sequence[str]) -> str | None:
    """Questions to try at one click; the one that was just clicked."""

    def pick() -> None:
        st.session_state["question_picked"] = st.session_state["suggestions"]
        # Unpicked again, so that it can be asked twice.
        st.session_state["suggestions"] = None

    st.pills(t("chat.try"), questions, key="suggestions", on_change=pick)
    return st.session_state.pop("question_picked", None)


def show_past(conversation: Conversation) -> None:
    """Everything said so far."""
    for exchange in conversation.exchanges:
        _show_question(exchange.question)
        for column, side in zip(_columns(), SIDES, strict=True):
            with column:
                answer = exchange.answers.get(side)
                st.text(answer["answer"] if answer else NONE)
                if answer:
                    _show_figures(answer)


def answer(
    workspace: Workspace,
    worker: Worker,
    conversation: Conversation,
    question: str,
    sampling: Sampling,
    *,
    remember: bool = True,
) -> None:
    """Ask both sides, draw the answers as they grow, and keep them; what is there of a stopped answer is kept too.

    With `remember`, each side is told what it has heard and said so far.
    """
    _show_question(question)
    columns = _columns()
    places = [column.empty() for column in columns]
    for place in places:
        place.caption(t("chat.thinking"))
    asks = [
        Ask(side=side, turns=conversation.turns(side, question) if remember else [(question, None)]) for side in SIDES
    ]
    texts, final = ["", ""], {}
    drawn = 0.0
    try:
        with closing(worker.stream(asks, sampling)) as lines:
            for line in lines:
                if "queued" in line:
                    continue
                row = line.pop("row")
                if "answer" in line:
                    final[row] = line
                texts[row] = line.get("answer", line.get("text", ""))
                if (now := time.monotonic()) - drawn >= 1 / PER_SECOND:
                    drawn = now
                    _draw(places, texts)
    finally:
        said = {
            side: final.get(row) or {"answer": texts[row], "finish": "stopped"}
            for row, side in enumerate(SIDES)
            if texts[row]
        }
        if said:
            conversation.exchanges.append(Exchange(question=question, answers=said))
            conversation.save(workspace)
    _draw(places, texts)
    for row, column in enumerate(columns):
        with column:
            _show_figures(final[row])


def _columns() -> list[DeltaGenerator]:
    """One column a side under its name; below each other where the screen is narrow."""
    columns = st.columns(2)
    for column, side in zip(columns, SIDES, strict=True):
        column.badge(t(f"chat.{side}"), color="gray" if side == "base" else "blue")
    return columns


def _draw(places: list[DeltaGenerator], texts: list[str]) -> None:
    for place, text in zip(places, texts, strict=True):
        if text:
            place.text(text)


def _show_question(question: str) -> None:
    with st.chat_message("user"):
        st.text(question)


def _show_figures(answer: dict[str, Any]) -> None:
    if answer.get("finish") == "stopped":
        st.caption(t("chat.stopped"))
        return
    speed = answer["tokens_per_s"]
    words = [
        t("chat.first", ms=round(answer["ttft_ms"])),
        t("chat.speed", speed=f"{speed:.0f}") if speed else "",
        t("chat.tokens", count=answer["tokens"]),
        t("chat.cut") if answer.get("finish") == "length" else "",
    ]
    st.caption(" · ".join(filter(None, words)))


def _keep(conversation: Conversation) -> None:
    st.session_state[f"conversation-{conversation.run}"] = conversation.id
    st.query_params[_URL] = conversation.id
