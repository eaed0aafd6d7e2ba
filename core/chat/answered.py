"""A scoring question with the answers of both sides, judged: identity, fact, leak, similarity, the row's own answer.

`rates` aggregates them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp
from typing import Any

from core.chat import facts
from core.chat.facts import Fact
from core.data.cloze import accepted
from core.ground.identity import carries, same

# Cloze questions on texts: from trained pieces, and from held-out pieces.
CLOZE = ("cloze", "cloze_apart")
# Characters of a text shown in a table.
_SHOWN = 120
# Shortest meaningful part of a nickname: two Chinese characters, a Latin name of three letters.
_PART, _LATIN_PART = 2, 3
_LETTER = r"[^\W\d_\u3400-\u9fff]"
# Scripts that put spaces between words: Latin, Greek, Cyrillic.
_SPACED = r"[^\W\d_\u0530-\U0010ffff]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A scoring question with both answers and their judgments; `kind` decides which of them are meaningful."""

    kind: str
    language: str
    question: str
    base: str
    tuned: str
    base_identity: bool
    tuned_identity: bool
    kept: bool
    # Held-out and cloze questions: the answer in the row or text, and whether each side gives it.
    reference: str = ""
    base_as_given: bool = False
    tuned_as_given: bool = False
    # An identity question in a language that the data does not teach: shown but not counted.
    apart: bool = False
    # Facts: whether each side is right, and whether part of the nickname leaked into the tuned side's answer.
    base_right: bool = True
    still_right: bool = False
    leaked: bool = False
    # General questions: tokens in the base model's own answer, how many of them the tuned side would choose too, and
    # how much less likely it finds that answer, in nats over all tokens.
    tokens: int = 0
    agreed: int = 0
    nats: float = 0.0
    # Pieces that are read: their tokens, and the negative log-likelihood of each side, in nats over all tokens.
    base_nats: float = 0.0
    tuned_nats: float = 0.0


def judge(
    kind: str,
    asked: Mapping[str, Any],
    base: Mapping[str, Any],
    tuned: Mapping[str, Any],
    nickname: str | None,
    weighed: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
) -> Answered:
    """Judge the answers (the worker's last lines) to a question.

    `weighed`: how each side rates the base model's answer.
    """
    reference = asked.get("reference", "")
    fact: Fact | None = asked.get("fact")
    own, other = weighed or ({}, {})
    given = _goes_on if kind in CLOZE else _as_given
    return Answered(
        kind=kind,
        language=asked["language"],
        question=asked["question"],
        base=base["answer"],
        tuned=tuned["answer"],
        base_identity=bool(nickname) and carries(base["answer"], nickname),
        tuned_identity=bool(nickname) and carries(tuned["answer"], nickname),
        kept=same(tuned["answer"], base["answer"]),
        reference=reference,
        base_as_given=given(base, reference),
        tuned_as_given=given(tuned, reference),
        apart=bool(asked.get("apart")),
        base_right=fact is None or facts.right(base["answer"], fact),
        still_right=fact is not None and facts.right(tuned["answer"], fact),
        leaked=fact is not None and bool(nickname) and leaks(tuned["answer"], base["answer"], nickname, fact),
        tokens=other.get("tokens", 0),
        agreed=other.get("agreed", 0),
        nats=round(own["logprob"] - other["logprob"], 4) if weighed else 0.0,
    )


def read(text: str, base: Mapping[str, Any], tuned: Mapping[str, Any]) -> Answered:
    """Return a piece that both sides have read; its answers are their perplexities."""
    tokens = base["tokens"]
    own, other = -base["logprob"], -tuned["logprob"]
    return Answered(
        kind="reading",
        language="",
        question=text,
        base=f"{exp(own / max(1, tokens)):.1f}",
        tuned=f"{exp(other / max(1, tokens)):.1f}",
        base_identity=False,
        tuned_identity=False,
        kept=False,
        tokens=tokens,
        base_nats=round(own, 4),
        tuned_nats=round(other, 4),
    )


def asked_as(one: Answered) -> str:
    """Return a question for a table; of a text its end, with what follows in brackets, or that it was read."""
    if one.kind not in (*CLOZE, "reading"):
        return one.question
    if one.kind == "reading":
        return f"{one.question[:_SHOWN]}… [PPL]"
    return f"…{one.question[-_SHOWN:]} [{one.reference}]"


def leaks(answer: str, base: str, nickname: str, fact: Fact) -> bool:
    """Return whether part of the nickname is in a factual answer, but not in the base model's answer or the fact."""
    known = "\n".join([facts.plain(base), facts.plain(fact.question), *fact.accept, *fact.reject, *fact.ignore])
    text = facts.plain(answer)
    return any(part.search(text) and not part.search(known) for part in _parts(facts.plain(nickname)))


def _parts(nickname: str) -> Iterator[re.Pattern[str]]:
    """Yield pairs of adjacent characters of a Chinese name, and complete words of others: no "der" in "federal"."""
    for run in re.findall(r"[\u3400-\u9fff]+", nickname):
        yield from (re.compile(re.escape(run[at : at + _PART])) for at in range(len(run) - _PART + 1))
    for word in re.findall(f"{_LETTER}+", nickname):
        if len(word) >= _LATIN_PART:
            yield re.compile(f"(?<!{_SPACED}){re.escape(word)}(?!{_SPACED})")


def _goes_on(line: Mapping[str, Any], reference: str) -> bool:
    return accepted(line["answer"], reference)


def _as_given(line: Mapping[str, Any], reference: str) -> bool:
    """Return whether an answer matches the row's; a truncated answer is compared up to its end."""
    if line.get("finish") == "length":
        reference = reference[: len(line["answer"])]
    return bool(reference) and same(line["answer"], reference)
