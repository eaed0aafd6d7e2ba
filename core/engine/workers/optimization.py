"""The optimizer of a run, read from mmengine's runner: how often it updated the weights, and its warmup.

Part of `training_hook`, in the engine's interpreter. Changes nothing.
"""

# A scheduler that starts below this share of the learning rate is a warmup, and nothing is learned if it never rises.
LEAST_START = 0.1


def updates(runner: object, done: int) -> "dict[str, int | None]":
    """Return how many updates were made in `done` iterations, and how many were `skipped`.

    Updates are skipped when gradients overflow in half precision. DeepSpeed counts both; mmengine's wrapper attempts
    one update per accumulation.
    """
    tried = getattr(runner.model, "global_steps", None)
    if isinstance(tried, int):
        skipped = getattr(runner.model, "skipped_steps", 0)
        return {"updates": tried - skipped, "skipped": skipped}
    every = getattr(runner.optim_wrapper, "_accumulative_counts", None)
    if not every:
        return {"updates": None, "skipped": None}
    # The remainder at the very end makes one more.
    tried = done // every + (done >= runner.max_iters and done % every > 0)
    taken = steps_taken(getattr(runner.optim_wrapper, "optimizer", None))
    return {"updates": tried if taken is None else taken, "skipped": None if taken is None else tried - taken}


def steps_taken(optimizer: object) -> "int | None":
    """Return how many updates an Adam-like optimizer has made; None for one that does not count."""
    if "betas" not in getattr(optimizer, "defaults", {}):
        return None
    # It has no state before the first step, which may be skipped.
    step = next(iter(optimizer.state.values()), {"step": 0}).get("step")
    return None if step is None else int(step)


def check_warmup(runner: object) -> None:
    """Raise RuntimeError for a warmup of one iteration.

    mmengine's `LinearLR` starts at `start_factor` of the learning rate and reaches the full rate at its last iteration;
    if that is also the first, it stays at the start, and XTuner's presets would train at a 100,000th.
    """
    schedulers = runner.param_schedulers or []
    # One list, or one per optimizer.
    for scheduler in sum(schedulers.values(), []) if isinstance(schedulers, dict) else schedulers:
        begins, steps = getattr(scheduler, "start_factor", 1.0), getattr(scheduler, "total_iters", None)
        if steps is not None and steps <= 0 and begins < LEAST_START:
            raise RuntimeError(
                f"The warm-up has one iteration: the learning rate would stay at {begins:g} of what is set"
            )
