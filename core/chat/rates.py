"""What judged questions come to: the rates of a score, each with the interval of so many questions, and one number of all.

identity    share of the identity questions whose answer carries nickname and role, of the languages that are taught
facts       of the checkable questions that the base answers rightly, the share that the tuned side still does; `gained`
            are those that it alone answers rightly, and `net` counts them against the lost
manner      share of the tokens of the base's own answers that the tuned side would choose too, and nats lost
retention   share of the general questions answered as the base answers them, for a base that knows no facts
parrot      share of the questions that do not ask for it whose answer carries nickname and role
leak        share of the facts with part of the nickname in the answer
held_out    share of the questions of the dataset's held-out part answered as its rows say
cloze       share of the cloze questions of trained pieces of a corpus that are answered with what stands there
cloze_apart the same of pieces that were kept apart, of what the trained ones say too
perplexity  of the pieces that were kept apart: no share, but e to the power of the nats that a token of them takes
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import comb, exp, sqrt
from typing import Any

from core.chat.answered import Answered

# As many lost and so few gained by chance alone: less likely than this. And less of the base's is what it left.
LOSS_BY_CHANCE, NET = 0.01, 0.95
# Fewer facts that the base knew tell nothing of how many were kept.
LEAST_FACTS = 20
# From this share of its questions on the identity is learned.
LEARNED = 0.9
# Of a normal distribution, 95 % lie within so many standard deviations.
_Z = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity:
    """How well each side foresees held-out pieces: 1 is to know every token, `interval` is of the tuned side.

    `change` is in nats a token, from the base to the tuned side: below 0 the pieces are foreseen better.
    """

    base: float
    tuned: float
    interval: tuple[float, float]
    change: float
    change_interval: tuple[float, float]
    pieces: int

    @property
    def lower(self) -> bool:
        """Whether it fell by more than chance."""
        return self.change_interval[1] < 0

    @property
    def higher(self) -> bool:
        """Whether it rose by more than chance."""
        return self.change_interval[0] > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores of both sides, each from 0 to 1, and the answers behind them."""

    identity: dict[str, float]
    retention: dict[str, float]
    parrot: dict[str, float]
    held_out: dict[str, float]
    questions: list[Answered]
    by_language: dict[str, dict[str, float]] = field(default_factory=dict)
    # `kept` is None where the base knew too few to tell.
    facts: dict[str, Any] = field(default_factory=lambda: {"base_right": 0, "kept": None, "gained": 0, "net": None})
    # Both None where nothing was weighed; `nats` a token.
    manner: dict[str, float | None] = field(default_factory=lambda: {"agreement": None, "nats": None})
    leak: float | None = None
    cloze: dict[str, float] = field(default_factory=lambda: {"base": 0.0, "tuned": 0.0})
    cloze_apart: dict[str, float] = field(default_factory=lambda: {"base": 0.0, "tuned": 0.0})
    # None where no piece was read.
    perplexity: Perplexity | None = None

    def to_json(self) -> dict[str, Any]:
        """The scores alone."""
        asked = ("identity", "retention", "parrot", "held_out", "cloze", "cloze_apart")
        found = {rate: getattr(self, rate) for rate in asked if self.counts[rate]}
        if self.perplexity:
            found["perplexity"] = asdict(self.perplexity)
        if "identity" in found:
            found["identity"] = {**self.identity, "by_language": self.by_language}
        return {**found, "facts": self.facts, "manner": self.manner, "leak": self.leak}

    def both(self, rate: str) -> tuple[float, float]:
        """A rate before and after; of what the base itself is the measure, it has all."""
        if rate == "facts":
            return 1.0, self.facts["kept"]
        if rate == "manner":
            return 1.0, self.manner["agreement"] or 0.0
        if rate == "leak":
            return 0.0, self.leak or 0.0
        values = getattr(self, rate)
        return values["base"], values["tuned"]

    @property
    def knows(self) -> bool:
        """Whether the base knew facts at all: a toy is measured by how its answers read instead."""
        return self.facts["base_right"] > 0

    @property
    def lost_facts(self) -> bool:
        """Whether facts were lost, and not some for others: a base that is near knowing answers half of it rightly, and
        any training, however harmless, turns some of both halves round. The exact test of McNemar (1947), one-sided.
        """
        if self.facts["kept"] is None or self.facts["net"] >= NET:
            return False
        lost = round(self.facts["base_right"] * (1 - self.facts["kept"]))
        changed = lost + self.facts["gained"]
        return sum(comb(changed, n) for n in range(lost, changed + 1)) / 2**changed < LOSS_BY_CHANCE

    @property
    def counts(self) -> dict[str, int]:
        """How many questions each score rests on."""
        kinds = [q.kind for q in self.questions]
        identity = sum(q.kind == "identity" and not q.apart for q in self.questions)
        facts, general = kinds.count("fact"), kinds.count("general")
        taught = "identity" in kinds
        return {
            "identity": identity,
            "cloze": kinds.count("cloze"),
            "cloze_apart": kinds.count("cloze_apart"),
            "facts": self.facts["base_right"],
            "manner": sum(q.tokens > 0 for q in self.questions if q.kind == "general"),
            "retention": general,
            "parrot": facts + general if taught else 0,
            "leak": facts if taught else 0,
            "held_out": kinds.count("held_out"),
        }

    @property
    def rates(self) -> list[str]:
        """The scores that say something of this base, in the order in which they are shown."""
        left_out = {"retention"} if self.knows else {"facts", "manner", "leak"}
        if self.facts["kept"] is None:
            left_out.add("facts")
        return [rate for rate, count in self.counts.items() if count and rate not in left_out]

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Where each score of the tuned side lies with 95 % confidence, for so many questions."""
        found = {rate: interval(self.both(rate)[1], self.counts[rate]) for rate in self.rates}
        if "manner" in found:
            found["manner"] = ratio_interval(
                [(q.agreed, q.tokens) for q in self.questions if q.kind == "general" and q.tokens]
            )
        return found

    @property
    def rank(self) -> tuple[float, ...]:
        """By which checkpoints are put in order: is it learned; what is kept, less what is said unasked; the rest.

        Above `LEARNED` a question more tells little, and what was lost does not come back. A toy by one number.
        """
        if not self.knows:
            return (self.worth,)
        taught = next((rate for rate in ("identity", "cloze") if self.counts[rate]), "held_out")
        learned = getattr(self, taught)["tuned"]
        return (min(learned, LEARNED), round(self.worth - learned, 4), learned)

    @property
    def worth(self) -> float:
        """One number of all: what was learned and kept, less what is said unasked."""
        learned = self.identity["tuned"] + self.held_out["tuned"] + self.cloze["tuned"] - 2 * self.parrot["tuned"]
        if not self.knows:
            return learned + self.retention["tuned"]
        kept = min(1.0, self.facts["net"]) if self.facts["net"] is not None else 0.0
        return learned + kept + (self.manner["agreement"] or 0.0) - 2 * (self.leak or 0.0)


def interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share of `count` (Wilson 1927); it holds for shares of 0 and 1 and few questions."""
    if not count:
        return 0.0, 1.0
    square = _Z * _Z / count
    middle = (share + square / 2) / (1 + square)
    half = _Z * sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return round(max(0.0, middle - half), 4), round(min(1.0, middle + half), 4)


def ratio_interval(parts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """The 95 % interval of a share of tokens, each answer's `(agreed, tokens)`: tokens of one answer are not independent.

    The ratio estimator of a cluster sample (Cochran, Sampling Techniques, 6.4). One answer tells nothing of the spread.
    """
    if len(parts) < 2 or not sum(tokens for _, tokens in parts):
        return 0.0, 1.0
    share, half = _per_token(parts)
    return round(max(0.0, share - half), 4), round(min(1.0, share + half), 4)


def _per_token(parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Of clusters' totals and tokens, what comes to a token, and half of its 95 % interval."""
    total, tokens, count = sum(a for a, _ in parts), sum(n for _, n in parts), len(parts)
    share = total / tokens
    spread = sum((a - share * n) ** 2 for a, n in parts) * count / max(1, count - 1)
    return share, _Z * sqrt(spread) / tokens


def _perplexity(read: Sequence[Answered]) -> Perplexity | None:
    """Of the pieces that were read; one piece tells nothing of the spread."""
    if len(read) < 2:
        return None
    base, _ = _per_token([(q.base_nats, q.tokens) for q in read])
    tuned, half = _per_token([(q.tuned_nats, q.tokens) for q in read])
    change, about = _per_token([(q.tuned_nats - q.base_nats, q.tokens) for q in read])
    return Perplexity(
        base=round(exp(base), 2),
        tuned=round(exp(tuned), 2),
        interval=(round(exp(tuned - half), 2), round(exp(tuned + half), 2)),
        change=round(change, 4),
        change_interval=(round(change - about, 4), round(change + about, 4)),
        pieces=len(read),
    )


def summary(questions: list[Answered]) -> Scores:
    """The scores of judged questions. The base keeps its own answers by definition: retention 1."""
    asked = [q for q in questions if q.kind == "identity"]
    counted = [q for q in asked if not q.apart]
    general = [q for q in questions if q.kind == "general"]
    facts = [q for q in questions if q.kind == "fact"]
    known = [q for q in facts if q.base_right]
    tell = len(known) >= LEAST_FACTS
    given = {kind: [q for q in questions if q.kind == kind] for kind in ("held_out", "cloze", "cloze_apart")}
    unasked = general + facts
    tokens = sum(q.tokens for q in general)
    return Scores(
        identity=_identity(counted),
        by_language={
            language: _identity([q for q in asked if q.language == language])
            for language in dict.fromkeys(q.language for q in asked)
        },  # fmt: skip
        retention={"base": 1.0, "tuned": _share([q.kept for q in general])},
        parrot={
            "base": _share([q.base_identity for q in unasked]),
            "tuned": _share([q.tuned_identity for q in unasked]),
        },
        held_out=_given(given["held_out"]),
        cloze=_given(given["cloze"]),
        cloze_apart=_given(given["cloze_apart"]),
        perplexity=_perplexity([q for q in questions if q.kind == "reading" and q.tokens]),
        facts={
            "base_right": len(known),
            "kept": _share([q.still_right for q in known]) if tell else None,
            "gained": sum(q.still_right and not q.base_right for q in facts),
            "net": round(sum(q.still_right for q in facts) / len(known), 4) if tell else None,
        },
        manner={
            "agreement": round(sum(q.agreed for q in general) / tokens, 4) if tokens else None,
            "nats": round(sum(q.nats for q in general) / tokens, 4) if tokens else None,
        },
        leak=_share([q.leaked for q in facts]) if known and asked else None,
        questions=questions,
    )


def _identity(questions: Sequence[Answered]) -> dict[str, float]:
    return {
        "base": _share([q.base_identity for q in questions]),
        "tuned": _share([q.tuned_identity for q in questions]),
    }


def _given(questions: Sequence[Answered]) -> dict[str, float]:
    return {
        "base": _share([q.base_as_given for q in questions]),
        "tuned": _share([q.tuned_as_given for q in questions]),
    }


def _share(values: list[bool]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0
