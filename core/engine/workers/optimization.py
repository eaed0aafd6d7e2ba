"""What the optimizer of a training does, read from mmengine's runner: how often it changed the weights, how it warms up.

A part of `training_hook`, in the engine's interpreter. Changes nothing.
"""

# One that begins below this share of the learning rate is a warm-up, and teaches nothing where it never rises.
LEAST_START = 0.1


def updates(runner: object, done: int) -> "dict[str, int | None]":
    """How often the weights were changed in the `done` iterations so far, and how often that was `skipped` for gradients
    that overflowed in half precision: DeepSpeed counts both, mmengine's wrapper tries once every so often."""
    tried = getattr(runner.model, "global_steps", None)
    if isinstance(tried, int):
        skipped = getattr(runner.model, "skipped_steps", 0)
        return {"updates": tried - skipped, "skipped": skipped}
    every = getattr(runner.optim_wrapper, "_accumulative_counts", None)
    if not every:
        return {"updates": None, "skipped": None}
    # What is left over at the very end makes one more.
    tried = done // every + (done >= runner.max_iters and done % every > 0)
    taken = steps_taken(getattr(runner.optim_wrapper, "optimizer", None))
    return {"updates": tried if taken is None else taken, "skipped": None if taken is None else tried - taken}


def steps_taken(optimizer: object) -> "int | None":
    """How often Adam, or one of its kind, changed the weights; None for an optimizer that does not count."""
    if "betas" not in getattr(optimizer, "defaults", {}):
        return None
    # Before the first step, which may be skipped, it keeps nothing.
    step = next(iter(optimizer.state.values()), {"step": 0}).get("step")
    return None if step is None else int(step)


def check_warmup(runner: object) -> None:
    """Raise RuntimeError for a warm-up of one iteration.

    mmengine's `LinearLR` begins at `start_factor` of the learning rate and reaches the whole at its last iteration; where
    that is the first one too, it stays where it began, and XTuner's presets would train at a 100,000th.
    """
    schedulers = runner.param_schedulers or []
    # One list, or one for each optimizer.
    for scheduler in sum(schedulers.values(), []) if isinstance(schedulers, dict) else schedulers:
        begins, steps = getattr(scheduler, "start_factor", 1.0), getattr(scheduler, "total_iters", None)
        if steps is not None and steps <= 0 and begins < LEAST_START:
            raise RuntimeError(
                f"The warm-up has one iteration: the learning rate would stay at {begins:g} of what is set"
            )
