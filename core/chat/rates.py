"""The rates of a score, aggregated from judged questions, each with its confidence interval, and one number for all.

identity    share of the identity questions, in the languages taught, whose answer contains nickname and role
facts       of the facts the base model answers correctly, the share that the tuned side still does; `gained` are those
            that only the tuned side answers correctly, and `net` offsets them against the lost ones
manner      share of the tokens in the base model's own answers that the tuned side would choose too, and nats lost
retention   share of the general questions answered as the base model does, for a base model that knows no facts
parrot      share of the questions on other topics whose answer contains nickname and role
leak        share of the facts with part of the nickname in the answer
held_out    share of the questions in the dataset's held-out part answered as in its rows
cloze       share of the cloze questions on trained pieces of a corpus that are answered correctly
cloze_apart the same for held-out pieces, about terms that the trained ones contain too
perplexity  of the held-out pieces: not a share, but e to the power of the nats per token
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import comb, exp, sqrt
from typing import Any

from core.chat.answered import Answered

# Facts are lost if that many lost and that few gained is less likely than this by chance, and if less than this share
# of the base model's facts is left.
LOSS_BY_CHANCE, NET = 0.01, 0.95
# With fewer facts known to the base model, the share kept is meaningless.
LEAST_FACTS = 20
# Share of the questions from which on the identity counts as learned.
LEARNED = 0.9
# 95 % of a normal distribution is within this many standard deviations.
_Z = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity:
    """How well each side predicts held-out pieces: 1 means every token is certain; `interval` is the tuned side's.

    `change` is in nats per token, from the base model to the tuned side: below 0 the pieces are predicted better.
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
    """The scores of both sides, from 0 to 1, and the answers behind them."""

    identity: dict[str, float]
    retention: dict[str, float]
    parrot: dict[str, float]
    held_out: dict[str, float]
    questions: list[Answered]
    by_language: dict[str, dict[str, float]] = field(default_factory=dict)
    # `kept` is None if the base model knew too few facts.
    facts: dict[str, Any] = field(default_factory=lambda: {"base_right": 0, "kept": None, "gained": 0, "net": None})
    # Both None if nothing was weighed; `nats` is per token.
    manner: dict[str, float | None] = field(default_factory=lambda: {"agreement": None, "nats": None})
    leak: float | None = None
    cloze: dict[str, float] = field(default_factory=lambda: {"base": 0.0, "tuned": 0.0})
    cloze_apart: dict[str, float] = field(default_factory=lambda: {"base": 0.0, "tuned": 0.0})
    # None if no piece was read.
    perplexity: Perplexity | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the scores without the answers."""
        asked = ("identity", "retention", "parrot", "held_out", "cloze", "cloze_apart")
        found = {rate: getattr(self, rate) for rate in asked if self.counts[rate]}
        if self.perplexity:
            found["perplexity"] = asdict(self.perplexity)
        if "identity" in found:
            found["identity"] = {**self.identity, "by_language": self.by_language}
        return {**found, "facts": self.facts, "manner": self.manner, "leak": self.leak}

    def both(self, rate: str) -> tuple[float, float]:
        """Return a rate before and after; where the base model itself is the reference, it has the full rate."""
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
        """Whether the base model knew any facts: otherwise a toy is judged by how its answers read."""
        return self.facts["base_right"] > 0

    @property
    def lost_facts(self) -> bool:
        """Whether facts were lost rather than exchanged for others.

        A base model that nearly knows some facts answers half of these correctly, and any training, however harmless,
        flips some in both directions. One-sided exact test of McNemar (1947).
        """
        if self.facts["kept"] is None or self.facts["net"] >= NET:
            return False
        lost = round(self.facts["base_right"] * (1 - self.facts["kept"]))
        changed = lost + self.facts["gained"]
        return sum(comb(changed, n) for n in range(lost, changed + 1)) / 2**changed < LOSS_BY_CHANCE

    @property
    def counts(self) -> dict[str, int]:
        """The number of questions behind each score."""
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
        """The meaningful scores for this base model, in display order."""
        left_out = {"retention"} if self.knows else {"facts", "manner", "leak"}
        if self.facts["kept"] is None:
            left_out.add("facts")
        return [rate for rate, count in self.counts.items() if count and rate not in left_out]

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % confidence interval of each score of the tuned side."""
        found = {rate: interval(self.both(rate)[1], self.counts[rate]) for rate in self.rates}
        if "manner" in found:
            found["manner"] = ratio_interval(
                [(q.agreed, q.tokens) for q in self.questions if q.kind == "general" and q.tokens]
            )
        return found

    @property
    def rank(self) -> tuple[float, ...]:
        """The sort key of checkpoints: is the identity learned; what was kept, less what is said unasked; the rest.

        Above `LEARNED`, one more question means little, and what was lost does not come back. A toy has one number.
        """
        if not self.knows:
            return (self.worth,)
        taught = next((rate for rate in ("identity", "cloze") if self.counts[rate]), "held_out")
        learned = getattr(self, taught)["tuned"]
        return (min(learned, LEARNED), round(self.worth - learned, 4), learned)

    @property
    def worth(self) -> float:
        """One number for everything: what was learned and kept, less what is said unasked."""
        learned = self.identity["tuned"] + self.held_out["tuned"] + self.cloze["tuned"] - 2 * self.parrot["tuned"]
        if not self.knows:
            return learned + self.retention["tuned"]
        kept = min(1.0, self.facts["net"]) if self.facts["net"] is not None else 0.0
        return learned + kept + (self.manner["agreement"] or 0.0) - 2 * (self.leak or 0.0)


def interval(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval (Wilson 1927) of a share of `count`; valid for 0, 1 and few questions."""
    if not count:
        return 0.0, 1.0
    square = _Z * _Z / count
    middle = (share + square / 2) / (1 + square)
    half = _Z * sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return round(max(0.0, middle - half), 4), round(min(1.0, middle + half), 4)


def ratio_interval(parts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Return the 95 % interval of a share of tokens from each answer's `(agreed, tokens)`.

    Tokens of one answer are not independent: this is the ratio estimator of a cluster sample (Cochran, Sampling
    Techniques, 6.4). A single answer says nothing about the spread.
    """
    if len(parts) < 2 or not sum(tokens for _, tokens in parts):
        return 0.0, 1.0
    share, half = _per_token(parts)
    return round(max(0.0, share - half), 4), round(min(1.0, share + half), 4)


def _per_token(parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Return the mean per token of clusters' totals, and half of its 95 % interval."""
    total, tokens, count = sum(a for a, _ in parts), sum(n for _, n in parts), len(parts)
    share = total / tokens
    spread = sum((a - share * n) ** 2 for a, n in parts) * count / max(1, count - 1)
    return share, _Z * sqrt(spread) / tokens


def _perplexity(read: Sequence[Answered]) -> Perplexity | None:
    """Return the perplexity of the pieces read; None for fewer than two, which say nothing about the spread."""
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
    """Return the scores of judged questions. The base model keeps its own answers by definition: retention 1."""
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
