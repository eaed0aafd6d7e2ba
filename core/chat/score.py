"""Scores a run: asks the base model and each side the questions in `asked`, greedily, and stores the judged answers.

The base model is asked facts first: a language it does not speak says nothing. The other sides are asked all facts of a
language, including those the base model did not know: any training gains some and loses some that were close. Greedy,
so the same for the same weights. Stored in the run: scores.json for the export, `scores/iter_N.json` for each
checkpoint. `rates` defines the rates, `diagnosis` what to do about them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from core.chat import book, facts
from core.chat.answered import Answered, judge, read
from core.chat.asked import LANGUAGES, LEAST_RIGHT, PROBES, TOKENS, Extent, Question, fact_questions, other_questions
from core.chat.base_answers import Remembering
from core.chat.rates import Scores, summary
from core.chat.side import BASE, Side, tuned_side
from core.chat.worker_client import Ask, Sampling, Worker
from core.data.row import Row
from core.ground.errors import BadInput
from core.ground.files import read_json, write_json
from core.ground.identity import carries
from core.training.checkpoint import Checkpoint
from core.training.run import Run

Line = dict[str, Any]


def identity_share(answers: Sequence[str], nickname: str | None) -> float | None:
    """The share of answers that state the identity; None without a nickname or answers."""
    return sum(carries(answer, nickname) for answer in answers) / len(answers) if nickname and answers else None


def score(
    run: Run,
    worker: Worker | Remembering,
    extent: Extent = "full",
    on_done: Callable[[float], None] | None = None,
    held_out: Sequence[Row] = (),
    texts: Sequence[Question] = (),
) -> Scores:
    """Score the run's exported adapter or model, else its last checkpoint. See `score_sides`."""
    side = tuned_side(run)
    if side is None:
        raise BadInput(
            f"训练 {run.id} 还没有检查点：先完成训练", f"the run {run.id} has no checkpoint yet: train first"
        )
    return score_sides(run, worker, [side], extent, on_done, held_out, texts)[side.key]


def score_sides(
    run: Run,
    worker: Worker | Remembering,
    sides: Sequence[Side],
    extent: Extent = "full",
    on_done: Callable[[float], None] | None = None,
    held_out: Sequence[Row] = (),
    texts: Sequence[Question] = (),
) -> dict[str, Scores]:
    """Ask the base model and each side, and judge the answers; returned by side and stored in the run.

    `held_out` are rows of the dataset's held-out part, `texts` what `book` asks of a corpus; `on_done` is called with how
    much is done, from 0 to 1. Raises BadInput for a run of which nothing can be asked.
    """
    if run.facts.dataset.is_text and not texts:
        name = run.facts.dataset.name
        raise BadInput(
            f"训练 {run.id} 的语料 {name} 已不在或变了，也可能太短、出不了题：无法评分",
            f"the corpus {name} of {run.id} is gone, has changed, or is too short for a question: it cannot be scored",
        )
    if not run.nickname and not held_out and not texts:
        raise BadInput(
            f"训练 {run.id} 的数据集里没有昵称，也没有留出的部分，无法评分：请用 datasets assistant 建的数据集训练，"
            "或先用 datasets split 留出一部分，再用其余的训练",
            f"the data of {run.id} teaches no nickname and has no held-out part: train on a dataset from datasets assistant, or hold out a part with datasets split and train on the rest",
        )
    asking = _Asking(worker, on_done or (lambda _: None))
    checked, spoken = _facts(asking, extent)
    others = other_questions(run, spoken, held_out, extent)
    keys = [side.key for side in sides]
    told = asking.ask([BASE, *keys], others, TOKENS["other"], upto=0.75)
    after_all = asking.ask(keys, [question for question, _ in checked], TOKENS["fact"], upto=0.88)
    weighed = asking.weigh([BASE, *keys], others, told[BASE]) if spoken else {}
    to_read = [question for question in texts if question[0] == "reading"]
    to_end = [question for question in texts if question[0] != "reading"]
    ended = asking.ask([BASE, *keys], to_end, book.TOKENS, upto=0.98)
    readings = asking.read([BASE, *keys], to_read)
    found = {}
    for side in sides:
        lines = zip(others, told[BASE], told[side.key], strict=True)
        answered = [
            judge(kind, question, before, after, None)
            for (kind, question), before, after in zip(to_end, ended[BASE], ended[side.key], strict=True)
        ]
        answered += [
            read(question["text"], before, after)
            for (_, question), before, after in zip(to_read, readings[BASE], readings[side.key], strict=True)
        ]
        for place, ((kind, question), before, after) in enumerate(lines):
            both = (weighed[BASE][place], weighed[side.key][place]) if place in weighed.get(BASE, {}) else None
            answered.append(judge(kind, question, before, after, run.nickname, both))
        answered += [
            judge(kind, question, before, after, run.nickname)
            for ((kind, question), before), after in zip(checked, after_all[side.key], strict=True)
        ]
        found[side.key] = summary(answered)
        _keep(run, side, found[side.key], extent)
    asking.on_done(1.0)
    return found


class _Asking:
    """Asks the worker step by step and reports the overall progress."""

    def __init__(self, worker: Worker | Remembering, on_done: Callable[[float], None]) -> None:
        self.worker, self.on_done, self.done = worker, on_done, 0.0

    def ask(
        self, keys: Sequence[str], questions: Sequence[Question], tokens: int, upto: float
    ) -> dict[str, list[Line]]:
        """Return the answers of each side, in the order of the questions; afterwards the progress is `upto`."""
        count, before = len(questions), self.done
        asks = [_ask(key, question) for key in keys for _, question in questions]

        def answered(there: int) -> None:
            self.on_done(before + (upto - before) * there / len(asks))

        lines = self.worker.ask(asks, Sampling(max_new_tokens=tokens), on_answer=answered) if asks else []
        self.done = upto
        return {key: lines[place * count : (place + 1) * count] for place, key in enumerate(keys)}

    def read(self, keys: Sequence[str], questions: Sequence[Question]) -> dict[str, list[Line]]:
        """Return how each side reads the texts."""
        count = len(questions)
        asks = [_ask(key, question) for key in keys for _, question in questions]
        lines = self.worker.read(asks) if asks else []
        return {key: lines[place * count : (place + 1) * count] for place, key in enumerate(keys)}

    def weigh(
        self, keys: Sequence[str], questions: Sequence[Question], base: Sequence[Line]
    ) -> dict[str, dict[int, Line]]:
        """Return how each side rates the base model's own answers to general questions, by question index."""
        places = [place for place, (kind, _) in enumerate(questions) if kind == "general" and base[place].get("ids")]
        asks = [_ask(key, questions[place][1]) for key in keys for place in places]
        lines = self.worker.weigh(asks, [base[place]["ids"] for _ in keys for place in places]) if asks else []
        return {key: dict(zip(places, lines[at * len(places) :], strict=False)) for at, key in enumerate(keys)}


def _ask(key: str, question: Mapping[str, Any]) -> Ask:
    if "text" in question:
        return Ask(side=key, text=question["text"])
    return Ask(side=key, turns=[(question["question"], None)], system=question.get("system", ""))


def _facts(asking: _Asking, extent: Extent) -> tuple[list[tuple[Question, Line]], list[str]]:
    """Return the facts in the languages the base model speaks with its answers, and those languages.

    A few are asked first to find the languages.
    """
    spoken, told = [], []
    probes = {language: fact_questions(language, extent) for language in LANGUAGES}
    first = [question for questions in probes.values() for question in questions[:PROBES]]
    answers = iter(asking.ask([BASE], first, TOKENS["fact"], upto=0.1)[BASE])
    for language, questions in probes.items():
        pairs = list(zip(questions[:PROBES], answers, strict=False))
        if sum(_right(*pair) for pair in pairs) >= LEAST_RIGHT * len(pairs):
            spoken.append(language)
            told += pairs
    rest = [question for language in spoken for question in probes[language][PROBES:]]
    lines = asking.ask([BASE], rest, TOKENS["fact"], upto=0.4)[BASE]
    return told + list(zip(rest, lines, strict=True)), spoken


def _right(question: Question, line: Line) -> bool:
    return facts.right(line["answer"], question[1]["fact"])


def stored(run: Run) -> Scores | None:
    """Return the scores of a run's export, else of its last checkpoint; None if there are none."""
    scored = (run.path / "scores").is_dir() or (run.path / "scores.json").exists()
    side = tuned_side(run) if scored else None
    if side is None:
        return None
    if side.checkpoint and (stamp := _stamp(run, side.checkpoint)):
        return _of_checkpoint(run, side.checkpoint, stamp)
    # The checkpoint is gone: use the export's scores if they are still of this export.
    found = read_json(run.path / "scores.json")
    same_one = found is not None and found["adapter"] == run.adapter_stamp and found["checkpoint"] == side.checkpoint
    return summary([Answered(**question) for question in found["questions"]]) if same_one else None


def of_checkpoints(run: Run) -> dict[str, Scores]:
    """Return the scores of each checkpoint that was scored and has not changed, by name, in order of iteration."""
    found = ((each.name, _of_checkpoint(run, each.name, _stamp_of(each))) for each in run.checkpoints())
    return {name: scores for name, scores in found if scores is not None}


def _of_checkpoint(run: Run, name: str, stamp: str) -> Scores | None:
    """Return the scores of a checkpoint; None if it has none, or changed since: its `stamp` is another one."""
    kept = read_json(run.path / "scores" / f"{name}.json")
    same = kept is not None and kept["stamp"] == stamp
    return summary([Answered(**question) for question in kept["questions"]]) if same else None


def best(scored: Mapping[str, Scores]) -> str | None:
    """Return the checkpoint that learned the most and forgot the least, the earliest if equal; None without scores."""
    return max(scored, key=lambda name: (scored[name].rank, -int(name.rpartition("_")[2])), default=None)


def _keep(run: Run, side: Side, scores: Scores, extent: Extent) -> None:
    content = {
        **scores.to_json(),
        "extent": extent,
        "made": time.time(),
        "questions": [asdict(q) for q in scores.questions],
    }
    if side.checkpoint and (stamp := _stamp(run, side.checkpoint)):
        place = run.path / "scores" / f"{side.checkpoint}.json"
        before = read_json(place) or {}
        if extent == "quick" and before.get("stamp") == stamp and before.get("extent", "full") == "full":
            # A quick score does not replace a full one.
            return
        write_json(place, {"checkpoint": side.checkpoint, "stamp": stamp, **content})
    now = tuned_side(run)
    if now and now.checkpoint == side.checkpoint:
        write_json(run.path / "scores.json", {"adapter": run.adapter_stamp, "checkpoint": side.checkpoint, **content})


def _stamp(run: Run, checkpoint: str) -> str | None:
    """Return an identifier of the checkpoint's current file: a resumed run may write another one of the same name."""
    found = next((c for c in run.checkpoints() if c.name == checkpoint), None)
    return _stamp_of(found) if found else None


def _stamp_of(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.path.stat().st_mtime_ns}:{checkpoint.bytes}"
