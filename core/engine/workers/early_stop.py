"""Ends a training when the identity is learned and what the model knew is still there; tells what it saw.

A part of `training_hook`, in the engine's interpreter: every so many iterations the first process asks the model a few
held-out questions, greedily. Draws no random number and changes nothing of what is trained. Which questions, and how
much is enough, is for `core.training.early_stop`, which writes them to run.json; what counts is for `ground.identity`.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

from core.engine.workers.beginning import begun
from core.ground.files import write_json
from core.ground.identity import carries, same

# The run.json of a run that wishes it; what is seen is written beside it.
PLAN = os.environ.get("XTUNER_STUDIO_EARLY_STOP")
SEEN = "early_stop.json"


class EarlyStop:
    """The looks of one training at what it has learned, kept in early_stop.json so that a resumed one goes on."""

    def __init__(self, run_json: str) -> None:
        with open(run_json, encoding="utf-8") as file:
            self.plan = json.load(file)["early_stop"]
        self.path = os.path.join(os.path.dirname(run_json), SEEN)
        self.seen: dict = {"base": None, "looks": [], "stopped_at": None, "look_seconds": 0.0}
        with contextlib.suppress(OSError, ValueError), open(self.path, encoding="utf-8") as file:
            self.seen.update(json.load(file))

    @property
    def prompts(self) -> "list[str]":
        """The identity questions, then the general ones, as text before the answer."""
        return [*self.plan["identity"], *self.plan["general"]]

    def every(self, max_iters: int, accumulated: int) -> int:
        """After how many iterations to look: whole optimizer updates, and so many looks in a training as planned."""
        return accumulated * max(1, math.ceil(max_iters / self.plan["looks"] / accumulated))

    def begin(self, answers: "list[str] | None", at: int) -> None:
        """Remember what the base model answers (None: it is known), and forget what a resumed training does again."""
        if answers is not None:
            self.seen["base"] = answers[len(self.plan["identity"]) :]
        looks = [look for look in self.seen["looks"] if look["iter"] <= at]
        self.seen = {
            "base": self.seen["base"],
            "looks": looks,
            "stopped_at": None,
            "look_seconds": self.seen["look_seconds"],
        }
        self.write()

    def look(self, answers: "list[str]", at: int) -> bool:
        """Judge the answers after iteration `at`. Returns whether it is learned, so many looks in a row."""
        identity, general = answers[: len(self.plan["identity"])], answers[len(self.plan["identity"]) :]
        kept = [same(after, before) for after, before in zip(general, self.seen["base"], strict=True)]
        shares = {
            "identity": _share([carries(answer, self.plan["nickname"]) for answer in identity]),
            "retention": _share(kept),
        }
        self.seen["looks"].append({"iter": at, **shares})
        last = self.seen["looks"][-self.plan["in_a_row"] :]
        self.write()
        return len(last) == self.plan["in_a_row"] and all(
            look["identity"] >= self.plan["least_identity"] and look["retention"] >= self.plan["least_retention"]
            for look in last
        )

    def stop(self, at: int, max_iters: int, seconds_each: float) -> None:
        """Tell that the training ended after iteration `at`, and what that saved."""
        self.seen.update(
            stopped_at=at,
            max_iters=max_iters,
            iterations_saved=max_iters - at,
            seconds_saved=round((max_iters - at) * seconds_each, 1),
        )
        self.write()

    def give_up(self, why: str) -> None:
        """Tell that there will be no more looks."""
        self.seen["given_up"] = why
        self.write()

    def write(self) -> None:
        """Replace early_stop.json."""
        write_json(Path(self.path), self.seen)


def _share(values: "list[bool]") -> float:
    return round(sum(values) / len(values), 4)


class Answering:
    """Greedy answers of the model that a runner trains, all prompts in one batch."""

    def __init__(self, runner: object, plan: dict) -> None:
        from mmengine.model import is_model_wrapper

        self.runner, self.plan = runner, plan
        self.model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.tokenizer = next((hook.tokenizer for hook in runner.hooks if hasattr(hook, "tokenizer")), None)
        if self.tokenizer is None:
            from transformers import AutoTokenizer

            self.tokenizer = AutoTokenizer.from_pretrained(plan["tokenizer"], trust_remote_code=True)

    def __call__(self, prompts: "list[str]", *, base: bool = False) -> "list[str]":
        """The answer to each prompt. `base`: without what was learned, where there is an adapter to leave out."""
        import torch

        llm = self.model.llm
        encoded = [begun(self.tokenizer, prompt) for prompt in prompts]
        ends = [ids[0] for word in self.plan["stop_words"] if len(ids := self._plain(word)) == 1]
        if self.tokenizer.eos_token_id is not None:
            ends.append(self.tokenizer.eos_token_id)
        longest, pad = max(map(len, encoded)), ends[-1] if ends else 0
        rows = [[pad] * (longest - len(ids)) + ids for ids in encoded]
        masks = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in encoded]
        device = next(iter(self.model.parameters())).device
        with self._inference(), llm.disable_adapter() if base and self.adapted else contextlib.nullcontext():
            generated = llm.generate(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(masks, device=device),
                max_new_tokens=self.plan["max_new_tokens"],
                do_sample=False,
                eos_token_id=ends or None,
                pad_token_id=pad,
            )
        return [self._text(ids, ends) for ids in generated[:, longest:].tolist()]

    @property
    def adapted(self) -> bool:
        """Whether what is learned can be left out for a moment."""
        return hasattr(self.model.llm, "disable_adapter")

    def _plain(self, text: str) -> "list[int]":
        return self.tokenizer.encode(text, add_special_tokens=False)

    def _text(self, ids: "list[int]", ends: "list[int]") -> str:
        until = next((place for place, token in enumerate(ids) if token in ends), len(ids))
        text = self.tokenizer.decode(ids[:until], skip_special_tokens=True)
        for word in self.plan["stop_words"]:
            text = text.partition(word)[0]
        return text.strip()

    @contextlib.contextmanager
    def _inference(self) -> "Iterator[None]":
        """The model as it answers, in the precision that it trains in; afterwards as it was."""
        import torch
        from mmengine.optim import AmpOptimWrapper
        from mmengine.runner.amp import autocast

        model, wrapper = self.model, self.runner.optim_wrapper
        checkpointing, use_cache = model.llm.is_gradient_checkpointing, model.llm.config.use_cache
        training = model.training
        model.activation_checkpointing_disable()
        model.llm.config.use_cache = True
        model.eval()
        mixed = autocast(dtype=wrapper.cast_dtype) if isinstance(wrapper, AmpOptimWrapper) else contextlib.nullcontext()
        try:
            with torch.no_grad(), mixed:
                yield
        finally:
            if checkpointing:
                model.activation_checkpointing_enable()
            model.llm.config.use_cache = use_cache
            model.train(training)


class Looks:
    """What the training's hook calls: before the training, and after every iteration."""

    def __init__(self, runner: object) -> None:
        self.early = EarlyStop(PLAN)
        self.answers = Answering(runner, self.early.plan)
        accumulated = getattr(runner.optim_wrapper, "_accumulative_counts", None)
        if not isinstance(accumulated, int):
            # DeepSpeed accumulates by itself.
            counted = getattr(runner.model, "gradient_accumulation_steps", None)
            accumulated = counted() if callable(counted) else 1
        self.every = self.early.every(runner.max_iters, accumulated)
        self.first, self.since, self.spent = runner.iter, time.monotonic(), 0.0
        self.on = self.answers.adapted or runner.iter == 0 or self.early.seen["base"] is not None
        if not self.on:
            self.early.give_up("what the base model answers is not known any more")
        elif self.early.seen["base"] is None:
            self._ask(runner, runner.iter, base=True)
        else:
            self.early.begin(None, runner.iter)
        self.since = time.monotonic()

    def learned(self, runner: object, done: int) -> bool:
        """Whether the training may end after iteration `done`: looked at every so often."""
        if not self.on or done % self.every:
            return False
        started = time.monotonic()
        enough = self._ask(runner, done)
        took = time.monotonic() - started
        self.spent += took
        self.early.seen["look_seconds"] = round(self.early.seen["look_seconds"] + took, 2)
        self.early.write()
        return enough

    def stop(self, runner: object, done: int) -> None:
        """Tell that the training ends after iteration `done`, whose checkpoint is there."""
        each = (time.monotonic() - self.since - self.spent) / max(1, done - self.first)
        self.early.stop(done, runner.max_iters, each)
        runner.logger.info(f"Stopped early after iteration {done}: the identity is learned.")

    def _ask(self, runner: object, done: int, *, base: bool = False) -> bool:
        import torch

        try:
            answers = self.answers(self.early.prompts, base=base)
            if base:
                self.early.begin(answers, done)
                return False
            enough = self.early.look(answers, done)
        except torch.cuda.OutOfMemoryError:
            # The training itself still fits.
            torch.cuda.empty_cache()
            self.on = False
            self.early.give_up("the GPU's memory does not hold the questions beside the training")
            runner.logger.warning("No early stop: the GPU's memory does not hold its questions.")
            return False
        seen = self.early.seen["looks"][-1]
        runner.logger.info(
            f"Early stop, iteration {done}: identity {seen['identity']:.2f}, retention {seen['retention']:.2f}."
        )
        return enough
