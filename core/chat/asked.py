"""The questions of a score: which, in which languages, how many of each, and how long an answer may be.

All of them are held out: never in data created by the app, or split off the user's own. Asks no model.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Literal

from core.chat.facts import Fact, facts
from core.data.dialogues.curated import dialogues, plain
from core.data.row import Row
from core.training.run import Run

Extent = Literal["full", "quick"]
LANGUAGES = ("zh", "en")
# A question as `judge` takes it: its kind, and `language`, `question` and what the kind needs.
Question = tuple[str, dict[str, Any]]

# A base model speaks a language if it answers this share of this many facts correctly: by guessing, it gets at most the
# odd number or city right.
PROBES, LEAST_RIGHT = 16, 0.25
# Questions per kind and language in a quick score; then limits of a full one: of a held-out part, and of the identity
# in a language not taught. Two CPU cores generate some 200 tokens a second with a model of 135 million parameters.
QUICK = {"identity": 8, "general": 6, "fact": 52, "held_out": 12}
MOST_HELD_OUT, MOST_APART = 60, 8
# Tokens per answer. A fact is stated in one sentence; the rest is ignored.
TOKENS = {"fact": 20, "other": 48}


def fact_questions(language: str, extent: Extent) -> list[Question]:
    """Return the factual questions of a language, shuffled in a fixed order."""
    found = sorted((fact for fact in facts() if fact.language == language), key=_mixed)
    count = QUICK["fact"] if extent == "quick" else len(found)
    return [("fact", {"language": language, "question": fact.question, "fact": fact}) for fact in found[:count]]


def other_questions(run: Run, spoken: Iterable[str], held_out: Iterable[Row], extent: Extent) -> list[Question]:
    """Return identity questions, general questions, and those of the data's held-out part.

    If the base model speaks no language (`spoken` is empty), general questions are asked in all: a toy knows what it
    was taught.
    """
    taught, general = run.facts.dataset.languages, tuple(spoken) or LANGUAGES
    found: list[Question] = []
    if run.nickname:
        for question in dialogues("identity")["questions"]:
            # In another language, a few are shown next to the others; a quick score omits them.
            apart = question["language"] not in taught
            most = 0 if extent == "quick" else MOST_APART
            if question["held_out"] and not (apart and sum(q["apart"] for _, q in found) >= most):
                found.append(("identity", {**question, "apart": apart}))
    found += [("general", row) for row in dialogues("general") if row["held_out"] and row["language"] in general]
    found += [("held_out", row) for row in _rows(held_out)]
    return _first(found) if extent == "quick" else found


def _first(questions: list[Question]) -> list[Question]:
    """Return a fixed sample: the first questions of each kind and language."""
    taken: dict[tuple[str, str], int] = {}
    found = []
    for kind, question in questions:
        key = (kind, question["language"])
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= QUICK[kind]:
            found.append((kind, question))
    return found


def _rows(rows: Iterable[Row]) -> list[dict[str, str]]:
    """Return the unique first questions of rows, with the row's answer and system prompt."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        turn = row["conversation"][0]
        if turn["input"].strip() and turn["output"].strip() and len(found) < MOST_HELD_OUT:
            asked = {"question": turn["input"], "reference": turn["output"], "language": ""}
            found.setdefault(turn["input"], asked | ({"system": turn["system"]} if turn.get("system") else {}))
    return list(found.values())


def _mixed(fact: Fact) -> bytes:
    return hashlib.sha256(plain(fact.question).encode()).digest()
