"""What was learned, in numbers: identity, retention, parrot rate and the held-out part, from greedy answers of both sides.

    identity    share of the held-out identity questions whose answer carries the nickname and the role
    retention   share of the held-out general questions answered as the base model answers them
    parrot      share of the held-out general questions whose answer carries nickname and role, unasked
    held_out    share of the questions of the dataset's held-out part, where it has one, answered as its rows say

Held out means: never in the training data that `data/assistant` makes, or split off it. Without a nickname in the data
there is no identity and no parrot rate. Greedy, so the same for the same weights. Kept
in the run: scores.json for what is exported, `scores/iter_N.json` for each checkpoint. What to do about it is for
`diagnosis`.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from core.chat.side import BASE, Side, tuned_side
from core.chat.worker_client import Ask, Sampling, Worker
from core.data.dialogues.curated import dialogues
from core.data.row import Row
from core.ground.errors import BadInput
from core.ground.files import read_json, write_json
from core.ground.identity import carries, same
from core.training.run import Run

RATES = ("identity", "retention", "parrot", "held_out")
# Of a held-out part, so many questions are asked.
MOST_HELD_OUT = 60
# Of a normal distribution, 95 % lie within so many standard deviations.
_Z = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One question of the score with both answers and how they were judged."""

    kind: str
    language: str
    question: str
    base: str
    tuned: str
    base_identity: bool
    tuned_identity: bool
    kept: bool
    # For a question of the held-out part: what its row says, and whether each side says it.
    reference: str = ""
    base_as_given: bool = False
    tuned_as_given: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores of both sides, each from 0 to 1, and the answers behind them."""

    identity: dict[str, float]
    retention: dict[str, float]
    parrot: dict[str, float]
    held_out: dict[str, float]
    questions: list[Answered]

    def to_json(self) -> dict[str, Any]:
        """The scores alone, those that were asked for."""
        return {rate: getattr(self, rate) for rate in self.rates}

    @property
    def counts(self) -> dict[str, int]:
        """How many questions each score rests on."""
        kinds = Counter(q.kind for q in self.questions)
        parrot = kinds["general"] if kinds["identity"] else 0
        return {
            "identity": kinds["identity"],
            "retention": kinds["general"],
            "parrot": parrot,
            "held_out": kinds["held_out"],
        }

    @property
    def rates(self) -> list[str]:
        """The scores that there are."""
        return [rate for rate, count in self.counts.items() if count]

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Where each score of the tuned side lies with 95 % confidence, for so many questions."""
        return {rate: interval(getattr(self, rate)["tuned"], self.counts[rate]) for rate in self.rates}

    @property
    def worth(self) -> float:
        """One number to compare checkpoints by: what was learned and kept, less what is said unasked."""
        learned = self.identity["tuned"] + self.held_out["tuned"]
        return learned + self.retention["tuned"] - 2 * self.parrot["tuned"]


def interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share of `count` (Wilson 1927); it holds for shares of 0 and 1 and few questions."""
    if not count:
        return 0.0, 1.0
    square = _Z * _Z / count
    middle = (share + square / 2) / (1 + square)
    half = _Z * sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return round(max(0.0, middle - half), 4), round(min(1.0, middle + half), 4)


def identity_share(answers: Sequence[str], nickname: str | None) -> float | None:
    """The share of answers that say whose assistant it is; None without a nickname or answers."""
    return sum(carries(answer, nickname) for answer in answers) / len(answers) if nickname and answers else None


def score(
    run: Run,
    worker: Worker,
    max_new_tokens: int = 96,
    on_answer: Callable[[int, int], None] | None = None,
    held_out: Sequence[Row] = (),
) -> Scores:
    """Score what the run has now: its exported adapter or model, else its last checkpoint. As `score_sides`."""
    side = tuned_side(run)
    if side is None:
        raise BadInput(
            f"训练 {run.id} 还没有检查点：先完成训练", f"the run {run.id} has no checkpoint yet: train first"
        )
    return score_sides(run, worker, [side], max_new_tokens, on_answer, held_out)[side.key]


def score_sides(
    run: Run,
    worker: Worker,
    sides: Sequence[Side],
    max_new_tokens: int = 96,
    on_answer: Callable[[int, int], None] | None = None,
    held_out: Sequence[Row] = (),
) -> dict[str, Scores]:
    """Ask the base and each side every held-out question, greedily, and judge the answers; by side, and kept in the run.

    `held_out` are rows of the dataset's held-out part; `on_answer` is called with the answers there are and how many
    there will be. Raises BadInput for a run whose data teaches no nickname and has no held-out part.
    """
    nickname, rows = run.nickname, _questions(held_out)
    if not nickname and not rows:
        raise BadInput(
            f"训练 {run.id} 的数据集里没有昵称，也没有留出的部分，无法评分：请用 datasets assistant 建的数据集训练，"
            "或先用 datasets split 留出一部分，再用其余的训练",
            f"the data of {run.id} teaches no nickname to look for and has no held-out part: train on a dataset made by "
            "datasets assistant, or split a part off with datasets split and train on the rest",
        )
    asked = [("identity", q) for q in dialogues("identity")["questions"] if q["held_out"] and nickname]
    asked += [("general", g) for g in dialogues("general") if g["held_out"]]
    asked += [("held_out", row) for row in rows]
    keys = [BASE, *(side.key for side in sides)]
    asks = [Ask(side=key, turns=[(q["question"], None)], system=q.get("system", "")) for key in keys for _, q in asked]
    lines = worker.ask(
        asks,
        Sampling(max_new_tokens=max_new_tokens),
        on_answer=(lambda there: on_answer(there, len(asks))) if on_answer else None,
    )
    found = {}
    for number, side in enumerate(sides, 1):
        tuned = lines[number * len(asked) : (number + 1) * len(asked)]
        found[side.key] = summary(
            [
                judge(kind, q, before, after, nickname)
                for (kind, q), before, after in zip(asked, lines, tuned, strict=False)
            ]
        )
        _keep(run, side, found[side.key])
    return found


def _questions(rows: Iterable[Row]) -> list[dict[str, str]]:
    """The different first questions of rows, with the answer and the system prompt that the row has."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        turn = row["conversation"][0]
        if turn["input"].strip() and turn["output"].strip() and len(found) < MOST_HELD_OUT:
            asked = {"question": turn["input"], "reference": turn["output"], "language": ""}
            found.setdefault(turn["input"], asked | ({"system": turn["system"]} if turn.get("system") else {}))
    return list(found.values())


def judge(
    kind: str, asked: Mapping[str, Any], base: Mapping[str, Any], tuned: Mapping[str, Any], nickname: str | None
) -> Answered:
    """One question's answers, the worker's last lines, judged."""
    reference = asked.get("reference", "")
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
        base_as_given=_as_given(base, reference),
        tuned_as_given=_as_given(tuned, reference),
    )


def _as_given(line: Mapping[str, Any], reference: str) -> bool:
    """Whether an answer says what the row does; one that was cut off, as far as it goes."""
    if line.get("finish") == "length":
        reference = reference[: len(line["answer"])]
    return bool(reference) and same(line["answer"], reference)


def summary(questions: list[Answered]) -> Scores:
    """The scores of judged questions. The base keeps its own answers by definition: retention 1."""
    identity = [q for q in questions if q.kind == "identity"]
    general = [q for q in questions if q.kind == "general"]
    held = [q for q in questions if q.kind == "held_out"]

    def share(values: list[bool]) -> float:
        return round(sum(values) / len(values), 4) if values else 0.0

    return Scores(
        identity={
            "base": share([q.base_identity for q in identity]),
            "tuned": share([q.tuned_identity for q in identity]),
        },
        retention={"base": 1.0, "tuned": share([q.kept for q in general])},
        parrot={"base": share([q.base_identity for q in general]), "tuned": share([q.tuned_identity for q in general])},
        held_out={
            "base": share([q.base_as_given for q in held]),
            "tuned": share([q.tuned_as_given for q in held]),
        },
        questions=questions,
    )


def stored(run: Run) -> Scores | None:
    """The scores of what a run has now (exported, else its last checkpoint); None if there are none."""
    side = tuned_side(run)
    if side is None:
        return None
    if side.checkpoint and _stamp(run, side.checkpoint):
        return of_checkpoints(run).get(side.checkpoint)
    # Its checkpoint is gone: what was told of the export, if it is that one still.
    found = read_json(run.path / "scores.json")
    same_one = found is not None and found["adapter"] == run.adapter_stamp and found["checkpoint"] == side.checkpoint
    return summary([Answered(**question) for question in found["questions"]]) if same_one else None


def of_checkpoints(run: Run) -> dict[str, Scores]:
    """The scores of each checkpoint that was scored and is as it was, by its name, the first iteration first."""
    found: dict[str, Scores] = {}
    for checkpoint in run.checkpoints():
        kept = read_json(run.path / "scores" / f"{checkpoint.name}.json")
        if kept is not None and kept["stamp"] == _stamp(run, checkpoint.name):
            found[checkpoint.name] = summary([Answered(**question) for question in kept["questions"]])
    return found


def best(scored: Mapping[str, Scores]) -> str | None:
    """The checkpoint that learned the most and forgot the least; of equals the earliest. None where none is scored."""
    return max(scored, key=lambda name: (scored[name].worth, -int(name.rpartition("_")[2])), default=None)


def _keep(run: Run, side: Side, scores: Scores) -> None:
    content = {**scores.to_json(), "made": time.time(), "questions": [asdict(q) for q in scores.questions]}
    if side.checkpoint and (stamp := _stamp(run, side.checkpoint)):
        facts = {"checkpoint": side.checkpoint, "stamp": stamp}
        write_json(run.path / "scores" / f"{side.checkpoint}.json", {**facts, **content})
    now = tuned_side(run)
    if now and now.checkpoint == side.checkpoint:
        write_json(run.path / "scores.json", {"adapter": run.adapter_stamp, "checkpoint": side.checkpoint, **content})


def _stamp(run: Run, checkpoint: str) -> str | None:
    """What the checkpoint's file is now: a resumed run may write another one of the same name."""
    found = next((c for c in run.checkpoints() if c.name == checkpoint), None)
    return f"{found.path.stat().st_mtime_ns}:{found.bytes}" if found else None
