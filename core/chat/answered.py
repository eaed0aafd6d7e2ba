"""One question of a score with both answers, and how they are judged: identity, fact, leak, likeness, the row's own answer.

What many of them come to is for `rates`.
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

# Of texts: what comes next in a trained piece, and in one that was kept apart.
CLOZE = ("cloze", "cloze_apart")
# Characters of a text in a table.
_SHOWN = 120
# A nickname's part says something from this length on: two Chinese characters, a name of three letters.
_PART, _LATIN_PART = 2, 3
_LETTER = r"[^\W\d_\u3400-\u9fff]"
# Of the scripts that have spaces between words: Latin, Greek, Cyrillic.
_SPACED = r"[^\W\d_\u0530-\U0010ffff]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One question of the score with both answers and how they were judged; `kind` says which of it means anything."""

    kind: str
    language: str
    question: str
    base: str
    tuned: str
    base_identity: bool
    tuned_identity: bool
    kept: bool
    # For a question of the held-out part and a cloze question: what its row or text says, and whether each side says it.
    reference: str = ""
    base_as_given: bool = False
    tuned_as_given: bool = False
    # For an identity question in a language that the data does not teach: shown, and not counted.
    apart: bool = False
    # For a fact: whether each side answers it rightly, and whether part of the nickname got into the tuned side's answer.
    base_right: bool = True
    still_right: bool = False
    leaked: bool = False
    # For a general question: the tokens of the base's own answer, how many the tuned side would choose too, and by how
    # many nats it finds that answer less likely, over all of them.
    tokens: int = 0
    agreed: int = 0
    nats: float = 0.0
    # For a piece that is read: its tokens and what each side lacks to foresee them, in nats over all of them.
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
    """One question's answers, the worker's last lines, judged; `weighed`: what each side makes of the base's answer."""
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
    """A piece that both sides have read; its answers are their perplexities."""
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
    """A question as a table shows it: of a text its end, and in brackets what comes next there, or that it was read."""
    if one.kind not in (*CLOZE, "reading"):
        return one.question
    if one.kind == "reading":
        return f"{one.question[:_SHOWN]}… [PPL]"
    return f"…{one.question[-_SHOWN:]} [{one.reference}]"


def leaks(answer: str, base: str, nickname: str, fact: Fact) -> bool:
    """Whether part of the nickname is in an answer to a fact, and neither the base nor the fact itself has it."""
    known = "\n".join([facts.plain(base), facts.plain(fact.question), *fact.accept, *fact.reject, *fact.ignore])
    text = facts.plain(answer)
    return any(part.search(text) and not part.search(known) for part in _parts(facts.plain(nickname)))


def _parts(nickname: str) -> Iterator[re.Pattern[str]]:
    """The pairs of neighbouring characters of a Chinese name, the whole words of another one: no "der" in "federal"."""
    for run in re.findall(r"[\u3400-\u9fff]+", nickname):
        yield from (re.compile(re.escape(run[at : at + _PART])) for at in range(len(run) - _PART + 1))
    for word in re.findall(f"{_LETTER}+", nickname):
        if len(word) >= _LATIN_PART:
            yield re.compile(f"(?<!{_SPACED}){re.escape(word)}(?!{_SPACED})")


def _goes_on(line: Mapping[str, Any], reference: str) -> bool:
    return accepted(line["answer"], reference)


def _as_given(line: Mapping[str, Any], reference: str) -> bool:
    """Whether an answer says what the row does; one that was cut off, as far as it goes."""
    if line.get("finish") == "length":
        reference = reference[: len(line["answer"])]
    return bool(reference) and same(line["answer"], reference)
