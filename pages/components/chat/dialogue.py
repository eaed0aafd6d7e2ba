"""A conversation with several sides: earlier turns, and a new question whose answers are streamed."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.chat import conversation as conversations
from core.chat.conversation import Conversation, Exchange
from core.chat.difference import pieces
from core.chat.worker_client import Ask, Sampling, Worker
from core.ground.errors import StudioError
from core.ground.figures import NONE
from core.ground.workspace import Workspace
from core.training.run import Run
from pages.components.plain import escaped
from pages.components.text import t

# The growing answers are sent to the browser at most this often per second.
PER_SECOND = 15
_URL = "conversation"
_EDITED = "question_edited"
_AGAIN = "question_again"
_WAITING = "question_waiting"


def current(workspace: Workspace, run: Run) -> Conversation:
    """Return the conversation in the URL, else this tab's, else the last one about the run, else an empty one."""
    known = st.session_state.get(f"conversation-{run.id}")
    for wanted in (st.query_params.get(_URL), known):
        # A URL may contain anything, including an invalid name.
        with suppress(StudioError):
            found = conversations.load(workspace, wanted) if wanted else None
            if found and found.run == run.id:
                keep(found)
                return found
    if known is None:
        if last := conversations.every(workspace, run.id)[:1]:
            keep(last[0])
            return last[0]
        begin_anew(run)
    # Nothing was said in it yet: it has no file, but there may be a system prompt on the screen.
    return Conversation(id=st.session_state[f"conversation-{run.id}"], run=run.id)


def begin_anew(run: Run) -> None:
    """Start an empty conversation; the file of the previous one remains."""
    keep(conversations.new_conversation(run.id))


def keep(conversation: Conversation) -> None:
    """Show this conversation, also after a reload."""
    st.session_state[f"conversation-{conversation.run}"] = conversation.id
    st.query_params[_URL] = conversation.id


def suggested(groups: Mapping[str, Sequence[str]]) -> str | None:
    """Offer questions to try, grouped by purpose; return the one just clicked."""

    def pick(key: str) -> None:
        st.session_state["question_picked"] = st.session_state[key]
        # Deselect it, so that it can be asked again.
        st.session_state[key] = None

    for label, questions in groups.items():
        key = f"suggestions-{label}"
        st.pills(t(f"chat.{label}"), questions, key=key, on_change=pick, args=(key,))
    return st.session_state.pop("question_picked", None)


def due(conversation: Conversation, *, may_ask: bool) -> str | None:
    """Return the question to ask now: one that waited for the models, or an earlier one to be asked again or edited.

    In the latter case later turns are removed from the screen, and from the disk once there is a new answer.
    """
    wanted = st.session_state.pop(_AGAIN, None) or st.session_state.pop(_WAITING, None)
    if wanted is None or not may_ask or wanted[0] != conversation.id:
        return None
    if wanted[1] is not None:
        conversation.back_to(wanted[1])
    return wanted[2]


def put_off(conversation: Conversation, question: str | None) -> bool:
    """Keep `question`, or one to be asked again, until the models are loaded; return whether there is one."""
    wanted = (conversation.id, None, question) if question else st.session_state.pop(_AGAIN, None)
    if wanted is not None:
        st.session_state[_WAITING] = wanted
    return wanted is not None


def show_waiting() -> None:
    """Draw the question that waits for the models, if any."""
    if wanted := st.session_state.get(_WAITING):
        _show_question(wanted[2])


def show_past(conversation: Conversation, names: Mapping[str, str], *, mark: bool) -> None:
    """Draw all earlier turns; each question can be asked again or edited."""
    for number, exchange in enumerate(conversation.exchanges):
        _show_question(exchange.question)
        sides = list(exchange.answers)
        base = exchange.answers.get("base", {}).get("answer", "")
        for column, side in zip(_columns(sides, names), sides, strict=True):
            with column:
                said = exchange.answers[side]
                _show_answer(said["answer"], base if mark and side != "base" else "")
                _show_figures(said)
        _buttons(conversation, number)


def answer(
    workspace: Workspace,
    worker: Worker,
    conversation: Conversation,
    question: str,
    sides: Sequence[str],
    names: Mapping[str, str],
    sampling: Sampling,
    *,
    remember: bool = True,
) -> None:
    """Ask all sides, stream their answers and save them; partial text of a stopped answer is saved too.

    With `remember`, each side receives its previous turns.
    """
    _show_question(question)
    columns = _columns(sides, names)
    places = [column.empty() for column in columns]
    for place in places:
        place.caption(t("chat.thinking"))
    asks = [
        Ask(
            side=side,
            turns=conversation.turns(side, question) if remember else [(question, None)],
            system=conversation.system,
        )
        for side in sides
    ]
    texts, final = [""] * len(sides), {}
    drawn = 0.0
    try:
        with closing(worker.stream(asks, sampling)) as lines:
            for line in lines:
                if "queued" in line:
                    for place in places:
                        place.caption(t("chat.queued", count=line["queued"]))
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
            for row, side in enumerate(sides)
            if row in final or texts[row]
        }
        if said:
            conversation.add(workspace, Exchange(question=question, answers=said))
    # Redraw from what was saved: with marks, figures and buttons.
    st.rerun()


def _buttons(conversation: Conversation, number: int) -> None:
    """Ask a question again, or edit it first; later turns are removed."""
    key = f"{conversation.id}-{number}"

    def again(question: str) -> None:
        st.session_state[_AGAIN] = (conversation.id, number, question)
        st.session_state.pop(_EDITED, None)

    def edit() -> None:
        st.session_state[_EDITED] = key

    def leave() -> None:
        st.session_state.pop(_EDITED, None)

    question = conversation.exchanges[number].question
    if st.session_state.get(_EDITED) == key:
        text = st.text_area(t("chat.edit"), question, key=f"edit-{key}", max_chars=4000)
        with st.container(horizontal=True):
            st.button(
                t("chat.ask_edited"),
                key=f"send-{key}",
                on_click=again,
                args=(text,),
                disabled=not text.strip(),
            )
            st.button(t("chat.leave"), key=f"leave-{key}", on_click=leave)
        return
    with st.container(horizontal=True, gap="small"):
        st.button(
            t("chat.retry"),
            icon=":material/refresh:",
            key=f"retry-{key}",
            on_click=again,
            args=(question,),
            type="tertiary",
        )
        st.button(
            t("chat.edit_question"), icon=":material/edit:", key=f"edit-question-{key}", on_click=edit, type="tertiary"
        )


def _columns(sides: Sequence[str], names: Mapping[str, str]) -> list[DeltaGenerator]:
    """Return a column per side under its name; on a narrow screen they are stacked."""
    columns = st.columns(max(1, len(sides)))
    for column, side in zip(columns, sides, strict=False):
        column.badge(names.get(side, side), color="gray" if side == "base" else "blue" if side == "tuned" else "violet")
    return columns


def _draw(places: list[DeltaGenerator], texts: list[str]) -> None:
    for place, text in zip(places, texts, strict=True):
        if text:
            place.text(text)


def _show_question(question: str) -> None:
    with st.chat_message("user"):
        st.text(question)


def _show_answer(answer: str, base: str) -> None:
    """Draw an answer; if there is a `base`, mark what it does not contain."""
    if not base or answer == base:
        st.text(answer or NONE)
        return
    marked = [
        f":green-background[{escaped(text)}]" if differs and text.strip() else escaped(text)
        for text, differs in pieces(answer, base)
    ]
    # Two spaces at the end of a line keep the line break.
    st.markdown("".join(marked).replace("\n", "  \n"))


def _show_figures(answer: dict[str, Any]) -> None:
    if answer.get("finish") == "stopped":
        st.caption(t("chat.stopped"))
        return
    speed = answer.get("tokens_per_s")
    words = [
        t("chat.first", ms=round(answer.get("ttft_ms") or 0)),
        t("chat.speed", speed=f"{speed:.0f}") if speed else "",
        t("chat.tokens", count=answer.get("tokens", 0)),
        t("chat.cut") if answer.get("finish") == "length" else "",
    ]
    st.caption(" · ".join(filter(None, words)))
