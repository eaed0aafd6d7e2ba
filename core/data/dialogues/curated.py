"""Our own collections of questions and answers, read from the JSON files beside this one, and which of them the scores keep for themselves."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from core.data.row import Row

DIALOGUES = Path(__file__).parent
# Longer questions are none of the curated ones.
_LONGEST = 80
_MARKS = re.compile(r"[\W_]+")


@cache
def dialogues(name: str) -> Any:
    """One collection: `identity`, `identity_more`, `general`, `open_questions`, `facts`, `styles` or `spelling`."""
    return json.loads((DIALOGUES / f"{name}.json").read_text(encoding="utf-8"))


def plain(question: str) -> str:
    """A question without case, space and marks: what makes two the same question."""
    return _MARKS.sub("", question).casefold()


@cache
def held_out() -> frozenset[str]:
    """The questions that the scores ask, plain. No dataset that we make holds one."""
    asked = [q for q in dialogues("identity")["questions"] + dialogues("general") if q["held_out"]]
    return frozenset(plain(question["question"]) for question in asked + dialogues("facts"))


def replay_questions() -> list[dict[str, str]]:
    """General questions (`language`, `question`) for the base model to answer: open ones and ours, none held out."""
    ours = [{"language": g["language"], "question": g["question"]} for g in dialogues("general") if not g["held_out"]]
    return [
        question for question in dialogues("open_questions") + ours if plain(question["question"]) not in held_out()
    ]


def is_identity(row: Row, nickname: str | None = None) -> bool:
    """Whether a row teaches who the assistant is: an identity question, or an answer that carries the nickname."""
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
    """By which a question that is none of them is mostly told."""
    return frozenset(question[:2] for question in _identity_questions())


@cache
def _identity_questions() -> frozenset[str]:
    asked = dialogues("identity")["questions"] + dialogues("identity_more")
    return frozenset(plain(question["question"]) for question in asked)
