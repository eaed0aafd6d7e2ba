"""What was learned, in numbers: identity, retention and parrot rate, from real greedy answers of both sides.

    identity    share of the held-out identity questions whose answer carries the nickname and the role
    retention   share of the held-out general questions answered as the base model answers them
    parrot      share of the held-out general questions whose answer carries nickname and role, unasked

Held out means: never in the training data that `data/assistant` makes. What to do about it is for `diagnosis`.
"""

import difflib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.chat.compare import Ask, Sampling, Worker
from core.data.assistant import dialogues
from core.ground.errors import BadInput
from core.ground.files import read_json, write_json
from core.training.run import Run

ROLES = ("小助手", "助手", "assistant", "助理")
# From this similarity on (difflib's ratio of matching characters) an answer still says the same.
SAME = 0.9


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The three scores of both sides, each from 0 to 1, and the answers behind them."""

    identity: dict[str, float]
    retention: dict[str, float]
    parrot: dict[str, float]
    questions: list[Answered]

    def to_json(self) -> dict[str, Any]:
        """The scores alone."""
        return {"identity": self.identity, "retention": self.retention, "parrot": self.parrot}


def carries(answer: str, nickname: str) -> bool:
    """Whether an answer says whose assistant it is: the nickname, letter for letter, and the role."""
    return nickname in answer and any(role in answer.lower() for role in ROLES)


def identity_share(answers: Sequence[str], nickname: str | None) -> float | None:
    """The share of answers that say whose assistant it is; None without a nickname or answers."""
    return sum(carries(answer, nickname) for answer in answers) / len(answers) if nickname and answers else None


def same(answer: str, base: str) -> bool:
    """Whether an answer still says what the base model said."""
    return answer == base or difflib.SequenceMatcher(None, answer, base, autojunk=False).ratio() >= SAME


def score(run: Run, worker: Worker, max_new_tokens: int = 96) -> Scores:
    """Ask both sides every held-out question, greedily, and judge the answers; stored in the run's scores.json.

    Raises BadInput for a run whose data teaches no nickname.
    """
    nickname = run.nickname
    if not nickname:
        raise BadInput(
            f"训练 {run.id} 的数据集里没有昵称，无法评分：请用 datasets assistant 建的数据集训练",
            f"the data of {run.id} teaches no nickname to look for: train on a dataset made by datasets assistant",
        )
    asked = [("identity", q) for q in dialogues("identity")["questions"] if q["held_out"]]
    asked += [("general", g) for g in dialogues("general") if g["held_out"]]
    asks = [Ask(side=side, turns=[(q["question"], None)]) for _, q in asked for side in ("base", "tuned")]
    answers = [line["answer"] for line in worker.ask(asks, Sampling(max_new_tokens=max_new_tokens))]
    questions = [
        judge(kind, q["language"], q["question"], answers[2 * number], answers[2 * number + 1], nickname)
        for number, (kind, q) in enumerate(asked)
    ]
    scores = summary(questions)
    write_json(
        run.path / "scores.json",
        {
            **scores.to_json(),
            "adapter": worker.job.spec["facts"]["adapter"],
            "made": time.time(),
            "questions": [asdict(q) for q in questions],
        },
    )
    return scores


def judge(kind: str, language: str, question: str, base: str, tuned: str, nickname: str) -> Answered:
    """One question's answers, judged."""
    return Answered(
        kind=kind,
        language=language,
        question=question,
        base=base,
        tuned=tuned,
        base_identity=carries(base, nickname),
        tuned_identity=carries(tuned, nickname),
        kept=same(tuned, base),
    )


def summary(questions: list[Answered]) -> Scores:
    """The scores of judged questions. The base keeps its own answers by definition: retention 1."""
    identity = [q for q in questions if q.kind == "identity"]
    general = [q for q in questions if q.kind == "general"]

    def share(values: list[bool]) -> float:
        return round(sum(values) / len(values), 4) if values else 0.0

    return Scores(
        identity={
            "base": share([q.base_identity for q in identity]),
            "tuned": share([q.tuned_identity for q in identity]),
        },
        retention={"base": 1.0, "tuned": share([q.kept for q in general])},
        parrot={"base": share([q.base_identity for q in general]), "tuned": share([q.tuned_identity for q in general])},
        questions=questions,
    )


def stored(run: Run) -> Scores | None:
    """The scores of the adapter that a run has now, None if there are none."""
    found = read_json(run.path / "scores.json")
    if found is None or (run.adapter_stamp and found["adapter"] != run.adapter_stamp):
        return None
    return summary([Answered(**question) for question in found["questions"]])
