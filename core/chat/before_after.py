"""The course's own comparison: both of its questions, asked of the base and of the tuned model, kept as a conversation.

It is what the assignment wants a picture of. The conversation is found again, or asked anew where there is none.
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
    """The course's two, unless its own data taught the run something else: then the first two of what that is about."""
    own = run.questions
    return COURSE_QUESTIONS if not own or set(COURSE_QUESTIONS) <= set(own) else tuple(own[:2])


def kept(workspace: Workspace, run: Run) -> Conversation | None:
    """The newest conversation about a run in which both sides answered both questions; None where there is none."""
    return next((one for one in conversations.every(workspace, run.id) if _whole(one, run)), None)


def asked(workspace: Workspace, run: Run) -> Conversation:
    """The comparison of a run, asked now where nobody has; the models are loaded for it where they are not.

    Raises BadInput where the run has nothing to ask yet, NoRoom where there is no memory, WorkFailed where it fails.
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
    """Keep what was answered, by question and side, as the conversation."""
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
