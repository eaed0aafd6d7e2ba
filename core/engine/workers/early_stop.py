"""End a run once the identity is learned and the model still knows what it knew, and record what was measured.

Called by `training_hook`, in the engine's interpreter: every few updates the first process asks the model some held-out
questions, greedily, and, once it knows its identity, measures how much of the base model's own answers it would still
give. Consumes no random numbers and leaves the training state unchanged. `core.training.early_stop` chooses the
questions and the thresholds and writes them to run.json; `ground.identity` decides what counts as the identity.
"""

import contextlib
import itertools
import json
import math
import os
import time
from pathlib import Path
from typing import Any

from core.engine.workers.asking import SPARE, Asking, Said
from core.ground.files import write_json
from core.ground.identity import carries, same

# The run.json of a run with early stopping; results are written next to it.
PLAN = os.environ.get("XTUNER_STUDIO_EARLY_STOP")
SEEN = "early_stop.json"
# A gain in agreement since the previous check that is a recovery worth waiting for.
RISE = 0.01


class EarlyStop:
    """The checks of one run, stored in early_stop.json so that a resumed run continues with them.

    `kept` of a check is what the plan measures: `agreement`, the share of the tokens of the base model's own answers
    that the model would also choose, or `retention`, the share of answers that still match the base model's.
    """

    def __init__(self, run_json: str) -> None:
        with open(run_json, encoding="utf-8") as file:
            self.plan = json.load(file)["early_stop"]
        # Plans of earlier versions have neither.
        self.measure = self.plan.get("measure", "retention")
        self.languages = self.plan.get("languages") or ["both"] * len(self.plan["identity"])
        self.path = os.path.join(os.path.dirname(run_json), SEEN)
        self.seen: dict = {"base": None, "looks": [], "stopped_at": None, "look_seconds": 0.0}
        with contextlib.suppress(OSError, ValueError), open(self.path, encoding="utf-8") as file:
            self.seen.update(json.load(file))

    def every(self, max_iters: int, accumulated: int) -> int:
        """Return the number of iterations between checks: complete optimizer updates, spread over the run."""
        updates = math.ceil(max_iters / self.plan["looks"] / accumulated)
        return accumulated * max(self.plan.get("least_updates", 1), updates)

    def due(self, done: int, max_iters: int, every: int) -> bool:
        """Return whether there is a check after iteration `done`: not before it could end the run, nor once none can."""
        if done % every or done < self.plan.get("earliest", 0.0) * max_iters:
            return False
        row = list(itertools.takewhile(self._known, reversed(self.seen["looks"])))
        return len(row) + math.ceil((max_iters - done) / every) >= self.plan["in_a_row"]

    def begin(self, base: "list | None", at: int) -> None:
        """Store the base model's answers (None: already known), and drop checks that a resumed run will repeat."""
        if base is not None:
            self.seen["base"] = base
        looks = [look for look in self.seen["looks"] if look["iter"] <= at]
        self.seen = {
            "base": self.seen["base"],
            "looks": looks,
            "stopped_at": None,
            "look_seconds": self.seen["look_seconds"],
        }
        self.write()

    def identity(self, answers: "list[str]") -> "dict[str, float]":
        """Return the share of identity questions answered with the nickname, by language."""
        told: dict[str, list[bool]] = {}
        for language, answer in zip(self.languages[: len(answers)], answers, strict=True):
            told.setdefault(language, []).append(carries(answer, self.plan["nickname"]))
        return {language: _share(carried) for language, carried in told.items()}

    def reached(self, answers: "list[str]") -> bool:
        """Return whether the identity counts as learned: enough questions answered with it in each language."""
        return min(self.identity(answers).values()) >= self.plan["least_identity"]

    def reached_before(self) -> bool:
        """Return whether the identity counted as learned at the previous check."""
        return bool(self.seen["looks"]) and self._least(self.seen["looks"][-1]) >= self.plan["least_identity"]

    def retention(self, answers: "list[str]") -> float:
        """Return the share of general answers that still match the base model's."""
        return _share([same(after, before) for after, before in zip(answers, self.seen["base"], strict=True)])

    def look(self, answers: "list[str]", kept: "float | None", at: int) -> "str | None":
        """Record the check after iteration `at`; return why training may end, or None.

        `answers` are those to the identity questions, or to the first of them; `kept` may be None while the identity is
        not learned.
        """
        by_language = self.identity(answers)
        self.seen["looks"].append(
            {
                "iter": at,
                "identity": _share([carries(answer, self.plan["nickname"]) for answer in answers]),
                **({"by_language": by_language} if len(by_language) > 1 else {}),
                self.measure: kept,
            }
        )
        self.write()
        last = self.seen["looks"][-self.plan["in_a_row"] :]
        if len(last) < self.plan["in_a_row"] or any(not self._known(look) for look in last):
            return None
        values = [look[self.measure] for look in last]
        if self.plan.get("keeps") and self._least(last[-1]) < self.plan["last_identity"]:
            # Nothing is lost by continuing.
            return None
        if min(values) >= self.plan[f"least_{self.measure}"]:
            # Questions that still fail may still be learned.
            return "learned" if self._least(last[-1]) >= self.plan.get("last_identity", 0.0) else None
        if self.measure == "agreement" and not self.plan.get("keeps") and values[-1] < values[0] + RISE:
            return "no_better"
        return None

    def stop(self, at: int, max_iters: int, seconds_each: float, why: str = "learned") -> None:
        """Record that training ended after iteration `at`, the reason, and the time saved."""
        self.seen.update(
            stopped_at=at,
            why=why,
            max_iters=max_iters,
            iterations_saved=max_iters - at,
            seconds_saved=round((max_iters - at) * seconds_each, 1),
        )
        self.write()

    def give_up(self, why: str) -> None:
        """Record that there will be no more checks."""
        self.seen["given_up"] = why
        self.write()

    def write(self) -> None:
        """Replace early_stop.json."""
        write_json(Path(self.path), self.seen)

    def _known(self, look: dict) -> bool:
        return look[self.measure] is not None and self._least(look) >= self.plan["least_identity"]

    def _least(self, look: dict) -> float:
        return min(look.get("by_language", {"": look["identity"]}).values())


def _longest(tokenizer: Any, plan: dict) -> int:
    """Return the tokens within which every answer in the data states the identity, plus some to spare."""
    lengths = []
    for answer in plan.get("answers", ()):
        ids = tokenizer.encode(answer, add_special_tokens=False)
        upto = range(1, len(ids) + 1)
        lengths += [n for n in upto if carries(tokenizer.decode(ids[:n]), plan["nickname"])][:1]
    return max(lengths) + SPARE if lengths else plan["max_new_tokens"]


def _share(values: "list[bool]") -> float:
    return round(sum(values) / len(values), 4)


class Looks:
    """What the training hook calls: before training, and after every iteration."""

    def __init__(self, runner: object) -> None:
        self.early = EarlyStop(PLAN)
        plan = self.early.plan
        tokenizer = next((hook.tokenizer for hook in runner.hooks if hasattr(hook, "tokenizer")), None)
        if tokenizer is None:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(plan["tokenizer"], trust_remote_code=True)
        self.asking = Asking(runner, tokenizer, plan["stop_words"])
        self.longest = _longest(tokenizer, plan)
        accumulated = getattr(runner.optim_wrapper, "_accumulative_counts", None)
        if not isinstance(accumulated, int):
            # DeepSpeed accumulates gradients itself.
            counted = getattr(runner.model, "gradient_accumulation_steps", None)
            accumulated = counted() if callable(counted) else 1
        self.every = self.early.every(runner.max_iters, accumulated)
        self.first, self.since, self.spent = runner.iter, time.monotonic(), 0.0
        self.why = "learned"
        self.on = self.asking.adapted or runner.iter == 0 or self.early.seen["base"] is not None
        if not self.on:
            self.early.give_up("the base model's answers are no longer available")
        elif self.early.seen["base"] is None and not self.asking.adapted:
            self._guarded(runner, lambda: self.early.begin(self._base(), runner.iter))
        else:
            self.early.begin(None, runner.iter)
        self.since = time.monotonic()

    def learned(self, runner: object, done: int) -> bool:
        """Return whether training may end after iteration `done`; checks only every few iterations."""
        if not self.on or not self.early.due(done, runner.max_iters, self.every):
            return False
        started = time.monotonic()
        why = self._guarded(runner, lambda: self._look(runner, done))
        took = time.monotonic() - started
        self.spent += took
        self.early.seen["look_seconds"] = round(self.early.seen["look_seconds"] + took, 2)
        self.early.write()
        self.why = why or self.why
        return why is not None

    def stop(self, runner: object, done: int) -> None:
        """Record that training ends after iteration `done`, whose checkpoint exists."""
        each = (time.monotonic() - self.since - self.spent) / max(1, done - self.first)
        self.early.stop(done, runner.max_iters, each, self.why)
        runner.logger.info(f"Stopped early after iteration {done}: {self.why.replace('_', ' ')}.")

    def _base(self) -> list:
        """Return the base model's answers to the general questions, as tokens or as text, whichever is compared."""
        said = self._general(base=True, at=None)
        return [one.ids for one in said] if self.early.measure == "agreement" else [one.text for one in said]

    def _general(self, *, base: bool, at: "int | None") -> "list[Said]":
        plan = self.early.plan
        return self.asking.ask(plan["general"], plan["max_new_tokens"], base=base, at=at)

    def _look(self, runner: object, done: int) -> "str | None":
        early, plan = self.early, self.early.plan

        def enough(text: str) -> bool:
            return carries(text, plan["nickname"])

        def answered(prompts: "list[str]") -> "list[str]":
            return [one.text for one in self.asking.ask(prompts, self.longest, at=done, enough=enough)]

        # Plans of earlier versions have only the first questions.
        questions, first, kept = plan["identity"], plan.get("first", len(plan["identity"])), None
        if early.reached_before():
            # All in one batch; those beyond the first count only if these are known.
            answers = answered(questions)
            answers = answers if early.reached(answers[:first]) else answers[:first]
        else:
            probe = plan.get("probe", first)
            answers = answered(questions[:probe])
            if probe < first and any(early.identity(answers).values()):
                answers += answered(questions[probe:first])
            if first < len(questions) and early.reached(answers):
                answers += answered(questions[first:])
        if early.seen["base"] is None and (early.measure == "retention" or early.reached(answers)):
            # With the adapter disabled: the answers before training, which did not have to wait for them.
            early.seen["base"] = self._base()
        if early.measure == "retention":
            kept = early.retention([one.text for one in self._general(base=False, at=done)])
        elif early.reached(answers):
            # It does not affect the decision before.
            tokens = sum(map(len, early.seen["base"]))
            kept = round(sum(self.asking.agreed(plan["general"], early.seen["base"])) / max(1, tokens), 4)
        why = early.look(answers, kept, done)
        seen = early.seen["looks"][-1]
        told = "" if kept is None else f", {early.measure} {kept:.2f}"
        runner.logger.info(f"Early stop, iteration {done}: identity {seen['identity']:.2f}{told}.")
        return why

    def _guarded(self, runner: object, work: object) -> "str | None":
        """Return the result of `work`; None, and no more checks, if the GPU has no memory for it."""
        import torch

        try:
            return work()
        except torch.cuda.OutOfMemoryError:
            # The training itself still fits in memory.
            torch.cuda.empty_cache()
            self.on = False
            self.early.give_up("there is no GPU memory left for the questions during training")
            runner.logger.warning("No early stopping: not enough GPU memory for its questions.")
            return None
