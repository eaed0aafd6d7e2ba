"""The built-in questions and answers from the JSON files next to this one, and which are held out for scoring."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from core.data.row import Row

DIALOGUES = Path(__file__).parent
# Built-in questions are shorter than this.
_LONGEST = 80
_MARKS = re.compile(r"[\W_]+")


@cache
def dialogues(name: str) -> Any:
    """Load a collection: `identity`, `identity_more`, `general`, `open_questions`, `facts`, `styles` or `spelling`."""
    return json.loads((DIALOGUES / f"{name}.json").read_text(encoding="utf-8"))


def plain(question: str) -> str:
    """Normalize a question for comparison: no case, spaces or punctuation."""
    return _MARKS.sub("", question).casefold()


@cache
def held_out() -> frozenset[str]:
    """Return the normalized scoring questions. No dataset created by the app contains one."""
    asked = [q for q in dialogues("identity")["questions"] + dialogues("general") if q["held_out"]]
    return frozenset(plain(question["question"]) for question in asked + dialogues("facts"))


def replay_questions() -> list[dict[str, str]]:
    """Return general questions (`language`, `question`) for the base model: open and built-in, none held out."""
    ours = [{"language": g["language"], "question": g["question"]} for g in dialogues("general") if not g["held_out"]]
    return [
        question for question in dialogues("open_questions") + ours if plain(question["question"]) not in held_out()
    ]


def is_identity(row: Row, nickname: str | None = None) -> bool:
    """Return whether a row teaches the identity: an identity question, or an answer that contains the nickname."""
    turn = row["conversation"][0]
    if nickname and nickname in turn["output"]:
        return True
    question = turn["input"]
    if len(question) >= _LONGEST:
        return False
    beginning = question[:2]
    if beginning.isalnum() and beginning.casefold()[:2] not in _identity_beginnings():
        return False
    return plain(question) in _identity_questions()


@cache
def _identity_beginnings() -> frozenset[str]:
    """Return the first two characters of all identity questions, a cheap test that excludes most other questions."""
    return frozenset(question[:2] for question in _identity_questions())


@cache
def _identity_questions() -> frozenset[str]:
    asked = dialogues("identity")["questions"] + dialogues("identity_more")
    return frozenset(plain(question["question"]) for question in asked)
