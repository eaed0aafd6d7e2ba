"""Conversations with both sides, kept on disk: `conversations/<id>.json`. One question, two answers, turn by turn."""

import secrets
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from core.ground.files import read_json, write_json
from core.ground.workspace import Workspace, check_name


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One question and the answers it got: by side, the worker's final line (`answer`, `tokens`, `ttft_ms`, …)."""

    question: str
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Conversation:
    """Everything said in one chat with one run."""

    id: str
    run: str | None = None
    exchanges: list[Exchange] = field(default_factory=list)

    def turns(self, side: str, question: str) -> list[tuple[str, str | None]]:
        """What `side` has heard and said so far, and the new question."""
        past = [(e.question, e.answers[side]["answer"]) for e in self.exchanges if side in e.answers]
        return [*past, (question, None)]

    def save(self, workspace: Workspace) -> None:
        write_json(workspace.conversations / f"{check_name(self.id, '对话', 'conversation')}.json", asdict(self))


def new_conversation(run: str | None) -> Conversation:
    """An empty one, named by the time."""
    return Conversation(id=f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}", run=run)


def load(workspace: Workspace, conversation_id: str) -> Conversation | None:
    """The conversation, None where there is none."""
    found = read_json(workspace.conversations / f"{check_name(conversation_id, '对话', 'conversation')}.json")
    if found is None:
        return None
    return Conversation(id=found["id"], run=found["run"], exchanges=[Exchange(**e) for e in found["exchanges"]])
