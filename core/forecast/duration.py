"""How long a run takes: from an earlier one on this machine, else from the measured speed of arithmetic.

    start + iterations x (fixed + tokens x per token) + checkpoints + answers x tokens x seconds each
    + 2 s before each further epoch, if worker processes load the data

Times are estimates; the counts come from `schedule`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.engine.presets import zero_settings
from core.forecast.schedule import Schedule
from core.models.shape import Shape

# Importing XTuner and loading a small model, measured on 2 cores; the extra for CUDA, on one H100; the speed at which a
# disk reads a model.
STARTING_SECONDS, CUDA_SECONDS, DISK_BYTES_PER_S = 7.0, 15.0, 800e6
# Data mapping starts processes seven times, and goes through the rows.
MAPS, PROCESS_SECONDS, ROW_SECONDS = 7, 0.07, 1.2e-5
# Training reaches half the speed of a large matrix product; 4-bit weights are unpacked at each use.
REACHED, UNPACKING = 0.5, 1.3
ITERATION_SECONDS = 0.02
# On a GPU a small step takes as long as launching its kernels, per layer (measured on one H100: 0.011 for full
# fine-tuning, 0.016 with an adapter; 0.0017 per token of an answer).
LAYER_SECONDS, LAYER_TOKEN_SECONDS = 0.013, 0.0017
# With ZeRO-3, which gathers each layer's weights when needed (one run on that GPU, with one process).
GATHERED_LAYER_SECONDS, GATHERED_TOKEN_SECONDS = 0.036, 0.009
# If the base model's answers are kept, its forward pass comes on top of a forward and a backward pass, which takes
# about twice as long.
KEEPING_SHARE = 1 / 3
# The speed of torch.save (22.7 GB in about 80 s, on the same machine).
SAVED_BYTES_PER_S = 300e6
# How long mmengine's loop waits before each further epoch; `workers.entry` removes the wait if no worker processes load
# data.
PAUSE_SECONDS = 2.0
# Before training an answer has at most 50 tokens (EvaluateChatHook).
FIRST_ANSWER = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """The seconds of each part, and whether they are calibrated by an earlier run."""

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
    """Return the duration of a run. `measured` are earlier runs on this machine: `history.measured`."""
    count = shape.parameters if shape else 0
    speed = REACHED * machine["flops_per_s"]
    work = arithmetic(facts, count) / speed
    own = like_it(facts, count, measured)
    mapping = prepare(facts)
    if own is None:
        each = work + ITERATION_SECONDS
        token = 2 * count / speed + 0.012
        if machine.get("cuda") and shape:
            gathers = bool(facts.get("deepspeed")) and zero_settings(facts["deepspeed"])[0] == 3
            launching = shape.layers * (GATHERED_LAYER_SECONDS if gathers else LAYER_SECONDS)
            each = max(each, launching * (1 + KEEPING_SHARE if facts.get("keeps") else 1.0))
            token = max(token, shape.layers * (GATHERED_TOKEN_SECONDS if gathers else LAYER_TOKEN_SECONDS))
        begin = STARTING_SECONDS + (CUDA_SECONDS if machine.get("cuda") else 0.0)
        start = begin + count * 2 / DISK_BYTES_PER_S + mapping
        # Answers usually end before the limit.
        said = 0.6
    else:
        each = _scaled(own["seconds"], (own.get("work") or 0.0) / speed, work)
        token, said = own["token_seconds"], 1.0
        start = own["start_seconds"] - own["prepare_seconds"] + mapping
    answer = token * said * answered_tokens(facts["evaluation"], schedule)
    # An earlier run's time for checkpoints is included in its answers.
    saving = len(schedule.saves) * checkpoint_bytes / SAVED_BYTES_PER_S if own is None else 0.0
    train = schedule.iters * each + saving + pauses(facts, schedule)
    return Duration(start=start, train=train, answer=answer, calibrated=own is not None)


def _scaled(seconds: float, own_work: float, work: float) -> float:
    """Return the seconds of an iteration, scaled from an earlier run's by the time that the arithmetic of both takes.

    The rest, launching kernels, is the same for both.
    """
    if own_work <= 0:
        return seconds
    return seconds * work / own_work if own_work >= seconds else seconds - own_work + work


def arithmetic(facts: dict[str, Any], parameters: int) -> float:
    """Return the floating point operations of an iteration.

    Per weight and token: 2 forward, 2 backward through it, 2 more if the weight is trained, and another 2 if
    activations are recomputed.
    """
    model = facts["model"]
    per_weight = 4 if model.get("lora") else 6
    # The base model's forward pass comes on top.
    per_weight += 2 if facts.get("keeps") else 0
    per_weight += 2 if model.get("use_activation_checkpointing", True) else 0
    unpacking = UNPACKING if (model.get("llm") or {}).get("quantization_config") else 1.0
    return per_weight * parameters * facts["data"]["padded_tokens"] * unpacking


def pauses(facts: dict[str, Any], schedule: Schedule) -> float:
    """Return the seconds a run waits between its epochs."""
    return PAUSE_SECONDS * (math.ceil(schedule.epochs) - 1) if facts["num_workers"] else 0.0


def answered_tokens(evaluation: dict[str, Any] | None, schedule: Schedule) -> int:
    """Return the sequential tokens if every answer has the maximum length: all questions are answered in one batch."""
    if not evaluation or not schedule.answers:
        return 0
    most = evaluation.get("max_new_tokens", 600)
    return FIRST_ANSWER + most * (schedule.evaluations - 1)


def kind(facts: dict[str, Any], parameters: int) -> list[Any]:
    """Return what two runs must share so that one's time and memory apply to the other."""
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


def like_it(facts: dict[str, Any], parameters: int, measured: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the newest earlier run of the same kind, preferably with the same checkpointing, processes and loss."""
    same = [run for run in measured if run.get("kind") == kind(facts, parameters)]
    wanted = likeness(facts)
    return max(same, key=lambda run: sum(run.get(name) == value for name, value in wanted.items()), default=None)


def likeness(facts: dict[str, Any]) -> dict[str, Any]:
    """Return in what two runs of a kind may still differ: then one is scaled to the other by its arithmetic."""
    return {
        "checkpointing": facts["model"].get("use_activation_checkpointing", True),
        "keeps": bool(facts.get("keeps")),
        "processes": facts.get("processes", 1),
    }


def prepare(facts: dict[str, Any]) -> float:
    """Return the seconds that data mapping takes."""
    processes = facts["data"].get("processes", 1)
    return MAPS * (PROCESS_SECONDS * processes + ROW_SECONDS * (facts["data"].get("rows") or 0))
