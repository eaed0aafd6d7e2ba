"""How long a training takes: from an earlier one on this machine where there is one, else from its measured arithmetic.

    start + iterations x (fixed + tokens x per token) + checkpoints + answers x tokens x seconds each
    + 2 s before each further epoch, where processes load the data

Estimates; the counts are `schedule`'s.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.engine.presets import zero_settings
from core.forecast.schedule import Schedule
from core.models.shape import Shape

# Importing XTuner and loading a small model, measured on 2 cores; what CUDA adds to it, on one H100; a disk reads about
# this much of a model a second.
STARTING_SECONDS, CUDA_SECONDS, DISK_BYTES_PER_S = 7.0, 15.0, 800e6
# A map over the data starts processes, seven times, and goes through the rows.
MAPS, PROCESS_SECONDS, ROW_SECONDS = 7, 0.07, 1.2e-5
# Half of a large matrix product's speed is what a training reaches of it; 4-bit weights are unpacked at each use.
REACHED, UNPACKING = 0.5, 1.3
ITERATION_SECONDS = 0.02
# On a GPU a small step takes as long as it takes to start its kernels, for each layer (measured on one H100: 0.011 with
# every weight trained, 0.016 with an adapter; of an answer's token 0.0017).
LAYER_SECONDS, LAYER_TOKEN_SECONDS = 0.013, 0.0017
# Where ZeRO-3 gathers each layer's weights as it comes to it (one run on that card, of one process).
GATHERED_LAYER_SECONDS, GATHERED_TOKEN_SECONDS = 0.036, 0.009
# What torch.save writes in a second (22.7 GB in some 80 s, measured there).
SAVED_BYTES_PER_S = 300e6
# What mmengine's loop waits before each further epoch; `engine.entry` takes it away where no processes load the data.
PAUSE_SECONDS = 2.0
# Before the training an answer has 50 tokens at most (EvaluateChatHook).
FIRST_ANSWER = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """Seconds of each part, and whether an earlier run told them."""

    start: float
    train: float
    answer: float
    calibrated: bool

    @property
    def seconds(self) -> float:
        return self.start + self.train + self.answer


def duration(
    shape: Shape | None,
    facts: dict[str, Any],
    schedule: Schedule,
    machine: dict[str, Any],
    measured: Sequence[dict[str, Any]] = (),
    checkpoint_bytes: int = 0,
) -> Duration:
    """The time of a training. `measured` are earlier runs on this machine: `history.measured`."""
    count = shape.parameters if shape else 0
    speed = REACHED * machine["flops_per_s"]
    work = arithmetic(facts, count) / speed
    own = _like_it(facts, count, measured)
    mapping = prepare(facts)
    if own is None:
        each = work + ITERATION_SECONDS
        token = 2 * count / speed + 0.012
        if machine.get("cuda") and shape:
            gathers = bool(facts.get("deepspeed")) and zero_settings(facts["deepspeed"])[0] == 3
            each = max(each, shape.layers * (GATHERED_LAYER_SECONDS if gathers else LAYER_SECONDS))
            token = max(token, shape.layers * (GATHERED_TOKEN_SECONDS if gathers else LAYER_TOKEN_SECONDS))
        begin = STARTING_SECONDS + (CUDA_SECONDS if machine.get("cuda") else 0.0)
        start = begin + count * 2 / DISK_BYTES_PER_S + mapping
        # The last words come sooner than the limit.
        said = 0.6
    else:
        each = _scaled(own["seconds"], (own.get("work") or 0.0) / speed, work)
        token, said = own["token_seconds"], 1.0
        start = own["start_seconds"] - own["prepare_seconds"] + mapping
    answer = token * said * answered_tokens(facts["evaluation"], schedule)
    # What an earlier run took for its checkpoints is among its answers.
    saving = len(schedule.saves) * checkpoint_bytes / SAVED_BYTES_PER_S if own is None else 0.0
    train = schedule.iters * each + saving + pauses(facts, schedule)
    return Duration(start=start, train=train, answer=answer, calibrated=own is not None)


def _scaled(seconds: float, own_work: float, work: float) -> float:
    """Seconds of an iteration, from those of an earlier one and what the arithmetic of both takes.

    What is beyond the arithmetic, the starting of kernels, is the same for both.
    """
    if own_work <= 0:
        return seconds
    return seconds * work / own_work if own_work >= seconds else seconds - own_work + work


def arithmetic(facts: dict[str, Any], parameters: int) -> float:
    """Floating point operations of an iteration.

    A weight costs 2 for each token forward, 2 backward through it, 2 more where it is trained itself, and 2 once more
    where activations are worked out anew.
    """
    model = facts["model"]
    per_weight = 4 if model.get("lora") else 6
    # The base model is asked too.
    per_weight += 2 if facts.get("keeps") else 0
    per_weight += 2 if model.get("use_activation_checkpointing", True) else 0
    unpacking = UNPACKING if (model.get("llm") or {}).get("quantization_config") else 1.0
    return per_weight * parameters * facts["data"]["padded_tokens"] * unpacking


def pauses(facts: dict[str, Any], schedule: Schedule) -> float:
    """What a training waits between its epochs, in seconds."""
    return PAUSE_SECONDS * (math.ceil(schedule.epochs) - 1) if facts["num_workers"] else 0.0


def answered_tokens(evaluation: dict[str, Any] | None, schedule: Schedule) -> int:
    """Tokens one after the other, were each answer as long as it may be: all questions are answered together."""
    if not evaluation or not schedule.answers:
        return 0
    most = evaluation.get("max_new_tokens", 600)
    return FIRST_ANSWER + most * (schedule.evaluations - 1)


def kind(facts: dict[str, Any], parameters: int) -> list[Any]:
    """What two trainings must share for the time and memory of one to tell of the other."""
    model = facts["model"]
    quantised = (model.get("llm") or {}).get("quantization_config") or {}
    return [
        parameters,
        bool(model.get("lora")),
        bool(quantised.get("load_in_4bit")),
        bool(quantised.get("load_in_8bit")),
        facts["wrapper"] == "OptimWrapper",
        facts.get("deepspeed"),
    ]


def _like_it(facts: dict[str, Any], parameters: int, measured: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The newest earlier run of the same kind; one of the same checkpointing before one that differs in it."""
    same = [run for run in measured if run.get("kind") == kind(facts, parameters)]
    wanted = facts["model"].get("use_activation_checkpointing", True)
    return next((run for run in same if run.get("checkpointing") == wanted), next(iter(same), None))


def prepare(facts: dict[str, Any]) -> float:
    """What mapping the data takes, in seconds."""
    processes = facts["data"].get("processes", 1)
    return MAPS * (PROCESS_SECONDS * processes + ROW_SECONDS * (facts["data"].get("rows") or 0))
