"""The course's own comparison: its two questions, asked of the base and the fine-tuned model, stored as a conversation.

The assignment requires a picture of it. An existing conversation is reused; otherwise the questions are asked.
"""

from collections.abc import Mapping
from typing import Any

from core.chat import conversation as conversations
from core.chat import worker_client
from core.chat.conversation import Conversation, Exchange
from core.chat.side import BASE, TUNED
from core.chat.worker_client import Ask, Sampling, Worker
from core.data.assistant import COURSE_QUESTIONS
from core.ground.workspace import Workspace
from core.training.run import Run

TOKENS = 96


def questions(run: Run) -> tuple[str, ...]:
    """Return the course's two questions, or the first two of the run's own if its data teaches others."""
    own = run.questions
    return COURSE_QUESTIONS if not own or set(COURSE_QUESTIONS) <= set(own) else tuple(own[:2])


def kept(workspace: Workspace, run: Run) -> Conversation | None:
    """Return the newest conversation of a run in which both sides answered both questions; None if there is none."""
    return next((one for one in conversations.every(workspace, run.id) if _whole(one, run)), None)


def asked(workspace: Workspace, run: Run) -> Conversation:
    """Return the comparison of a run; if there is none, load the models if necessary and ask now.

    Raises BadInput if the run has no model to ask yet, NoRoom if memory is insufficient, WorkFailed if asking fails.
    """
    found = kept(workspace, run)
    if found is not None:
        return found
    loaded = worker_client.worker_there(workspace, run)
    if loaded is not None:
        return _ask(workspace, run, loaded.wait_ready())
    worker = worker_client.worker_for(workspace, run, own=True)
    try:
        return _ask(workspace, run, worker.wait_ready())
    finally:
        worker.stop()


def keep(workspace: Workspace, run: Run, answers: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Conversation:
    """Store the answers, by question and side, as the conversation."""
    conversation = conversations.new_conversation(run.id)
    for question in questions(run):
        sides = {side: dict(line) for side, line in answers[question].items()}
        conversation.exchanges.append(Exchange(question=question, answers=sides))
    conversation.save(workspace)
    return conversation


def _ask(workspace: Workspace, run: Run, worker: Worker) -> Conversation:
    pairs = [(question, side) for question in questions(run) for side in (BASE, TUNED)]
    asks = [Ask(side=side, turns=[(question, None)]) for question, side in pairs]
    lines = worker.ask(asks, Sampling(max_new_tokens=TOKENS))
    answers: dict[str, dict[str, Any]] = {}
    for (question, side), line in zip(pairs, lines, strict=True):
        answers.setdefault(question, {})[side] = line
    return keep(workspace, run, answers)


def _whole(conversation: Conversation, run: Run) -> bool:
    there = {exchange.question for exchange in conversation.exchanges if {BASE, TUNED} <= set(exchange.answers)}
    return set(questions(run)) <= there
