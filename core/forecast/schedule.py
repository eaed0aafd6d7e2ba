"""The schedule of a run: iterations, optimizer updates, evaluations and checkpoints, as in mmengine's loop.

Arithmetic only. Exact for XTuner's `TrainLoop`, `CheckpointHook` and `EvaluateChatHook` with the given number of
processes.
"""

import math
from dataclasses import dataclass
from typing import Any

# With fewer updates hardly anything is learned.
FEW_UPDATES = 30
# A LinearLR that starts below this share of the learning rate is a warmup.
LEAST_START = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`per_epoch`: iterations; `saves`, `answers`: after which iterations; `kept`: checkpoints left at the end."""

    per_epoch: int
    iters: int
    updates: int
    saves: tuple[int, ...]
    answers: tuple[int, ...]
    kept: int
    epochs: float
    # For each learning rate scheduler: its first and last iteration, and the minimum length.
    ramps: tuple[tuple[int, int, int], ...]

    @property
    def warms(self) -> bool:
        """Whether there is a warmup."""
        return any(least > 1 for _, _, least in self.ramps)

    @property
    def evaluations(self) -> int:
        return len(self.answers)


def schedule(facts: dict[str, Any], samples: int, processes: int = 1) -> Schedule:
    """Return the schedule of a config with `samples` sequences per epoch. `facts` are `config_facts`."""
    each = math.ceil(samples / processes)
    batch = facts["batch_size"]
    per_epoch = max(1, each // batch if facts["drop_last"] else math.ceil(each / batch))
    iters = int(facts["max_iters"] or per_epoch * facts["max_epochs"])
    saves = _saves(facts["checkpoint"] or {}, iters)
    answers = _answers(facts["evaluation"], facts["checkpoint"] or {}, saves, iters)
    most = (facts["checkpoint"] or {}).get("max_keep_ckpts", -1)
    return Schedule(
        per_epoch=per_epoch,
        iters=iters,
        # mmengine's optimizer wrapper also steps after the last iteration, DeepSpeed does not.
        updates=(math.floor if facts.get("deepspeed") else math.ceil)(iters / facts["accumulative_counts"]),
        saves=saves,
        answers=answers,
        kept=len(saves) if most < 0 else min(len(saves), most),
        epochs=iters / per_epoch,
        ramps=tuple(_ramp(scheduler, per_epoch) for scheduler in facts["schedulers"]),
    )


def _saves(hook: dict[str, Any], iters: int) -> tuple[int, ...]:
    if not hook:
        return ()
    last = hook.get("save_last", True)
    if hook.get("by_epoch", True):
        # The loop counts iterations and reports the end of an epoch only once, after the last iteration.
        return (iters,) if last or hook.get("interval", -1) == 1 else ()
    step, begin = hook.get("interval", -1), hook.get("save_begin", 0)
    # Starts at `save_begin`, if set.
    found = set(range(begin or step, iters + 1, step)) if step > 0 else set()
    return tuple(sorted(found | ({iters} if last else set())))


def _answers(
    hook: dict[str, Any] | None, checkpoint: dict[str, Any], saves: tuple[int, ...], iters: int
) -> tuple[int, ...]:
    """Return the iterations at which questions are asked: before the first, at intervals, at saves, and at the end."""
    if not hook or not hook.get("evaluation_inputs"):
        return ()
    every = hook.get("every_n_iters")
    if every is None:
        return (0, iters)
    by_iteration = saves if not checkpoint.get("by_epoch", True) else ()
    on_the_way = {*by_iteration, *(range(every, iters + 1, every) if every > 0 else ())}
    return (0, *sorted(on_the_way), iters)


def _ramp(scheduler: dict[str, Any], per_epoch: int) -> tuple[int, int, int]:
    begin, end = scheduler.get("begin", 0), scheduler.get("end")
    by_epoch = scheduler.get("by_epoch", True)
    scale = per_epoch if by_epoch and scheduler.get("convert_to_iter_based") else 1
    # A warmup of one iteration never completes: `optimization.check_warmup`.
    warms = scheduler.get("type") == "LinearLR" and (scheduler.get("start_factor") or 1 / 3) < LEAST_START
    return int(begin * scale), 1 << 60 if end is None else int(end * scale), 2 if warms else 1
