"""Conversations with several sides, stored in `conversations/<id>.json`: each question has an answer per side."""

import secrets
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from core.ground.files import read_json, write_json
from core.ground.lock import locked
from core.ground.workspace import Workspace, check_name


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A question and its answers: by side, the worker's final line (`answer`, `tokens`, `ttft_ms`, …)."""

    question: str
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Conversation:
    """All turns of one chat about a run."""

    id: str
    run: str | None = None
    system: str = ""
    exchanges: list[Exchange] = field(default_factory=list)
    # Number of exchanges in the file when it was read.
    read: int = field(default=0, compare=False)

    @property
    def title(self) -> str:
        """The first question, shortened."""
        first = self.exchanges[0].question if self.exchanges else ""
        return first if len(first) <= 24 else first[:24] + "…"

    @property
    def sides(self) -> list[str]:
        """All sides that answered, base and tuned first."""
        found = dict.fromkeys(side for exchange in self.exchanges for side in exchange.answers)
        return sorted(found, key=lambda side: ["base", "tuned"].index(side) if side in ("base", "tuned") else 2)

    def turns(self, side: str, question: str) -> list[tuple[str, str | None]]:
        """Return what `side` has been asked and answered so far, followed by the new question."""
        past = [(e.question, e.answers[side]["answer"]) for e in self.exchanges if side in e.answers]
        return [*past, (question, None)]

    def back_to(self, number: int) -> str:
        """Remove exchange `number` and all later ones, to ask it again or differently; return its question."""
        question = self.exchanges[number].question
        del self.exchanges[number:]
        return question

    def add(self, workspace: Workspace, exchange: Exchange) -> None:
        """Append an exchange and save, after exchanges that another tab has added in the meantime."""
        with locked(workspace.conversations / ".lock"):
            there = load(workspace, self.id)
            self.exchanges += there.exchanges[self.read :] if there else []
            self.exchanges.append(exchange)
            self.save(workspace)
            self.read = len(self.exchanges)

    def save(self, workspace: Workspace) -> None:
        told = asdict(self)
        del told["read"]
        write_json(workspace.conversations / f"{check_name(self.id, '对话', 'conversation')}.json", told)


def new_conversation(run: str | None) -> Conversation:
    """Return an empty conversation, named by the time."""
    return Conversation(id=f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}", run=run)


def load(workspace: Workspace, conversation_id: str) -> Conversation | None:
    """Return the conversation; None if there is none."""
    found = read_json(workspace.conversations / f"{check_name(conversation_id, '对话', 'conversation')}.json")
    if not isinstance(found, dict) or "exchanges" not in found:
        return None
    return Conversation(
        id=found["id"],
        run=found["run"],
        system=found.get("system", ""),
        exchanges=[Exchange(**exchange) for exchange in found["exchanges"]],
        read=len(found["exchanges"]),
    )


def every(workspace: Workspace, run: str) -> list[Conversation]:
    """Return the non-empty conversations about a run, newest first."""
    found = [load(workspace, path.stem) for path in sorted(workspace.conversations.glob("2*.json"), reverse=True)]
    return [one for one in found if one and one.run == run and one.exchanges]


def delete(workspace: Workspace, conversation_id: str) -> None:
    """Delete a conversation, if it exists."""
    name = check_name(conversation_id, "对话", "conversation")
    (workspace.conversations / f"{name}.json").unlink(missing_ok=True)
