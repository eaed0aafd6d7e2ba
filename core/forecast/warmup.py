"""A warmup that is too short, detected before training.

XTuner crashes with zero iterations, and with a single one the learning rate stays at its start value
(`optimization.check_warmup`). Uses numbers only; measures nothing.
"""

import math
from typing import Any

from core.config.config import Config
from core.config.named import dataset_named
from core.data import dataset as datasets
from core.engine.config_file import MISSING, ConfigFile, Source
from core.forecast.case import problem, said
from core.forecast.schedule import FEW_UPDATES, Schedule, schedule
from core.ground.problem import Problem
from core.ground.workspace import Workspace

_RAMP = ("begin", "end", "by_epoch", "convert_to_iter_based", "start_factor")


def short_warmup(plan: Schedule, more: dict[str, Any] | None = None) -> Problem | None:
    """Return the problem of a schedule whose warmup is too short.

    `more` are the settings for more iterations, if few.
    """
    short = [end - begin for begin, end, least in plan.ramps if end - begin < least]
    if not short:
        return None
    share = _least_share(plan)
    fix = more or ({"warmup_ratio": share} if share else None)
    return problem(
        "warmup_ratio",
        (
            "预热只有一次迭代：XTuner 的学习率会一直停在起点（多为设定值的十万分之一），什么也学不会",
            "the warmup has one iteration: XTuner's learning rate stays at its start value, usually 1/100,000 of the setting, and nothing is learned",
        )
        if max(short) == 1
        else ("预热的迭代数为零，XTuner 会因此报错退出", "the warmup has no iterations, which crashes XTuner"),
        (f"设置 {said(fix)}", f"set {said(fix)}") if fix else ("增大 max_epochs", "use more epochs"),
        fix,
        "error",
    )


def check_warmup(workspace: Workspace, config: Config, processes: int) -> list[Problem]:
    """Return the same for a config with a preset's warmup and unpacked rows, without measuring the data.

    For any other config nothing is known before measuring.
    """
    values, file = config.values(), ConfigFile(config.text())
    scheduler = {key: file.get(f"param_scheduler[0].{key}") for key in _RAMP}
    scheduler = {key: value for key, value in scheduler.items() if value is not MISSING}
    kind = file.get("param_scheduler[0].type")
    numbers = [scheduler.get("begin", 0), scheduler.get("end"), scheduler.get("start_factor")]
    numbers += [values.get("max_epochs"), values.get("batch_size")]
    if (
        not all(isinstance(number, int | float) for number in numbers)
        or values.get("pack_to_max_length") is not False
        or not isinstance(kind, Source)
        or file.get("sequence_parallel_size") not in (MISSING, 1)
        or dataset_named(workspace, file) != config.dataset
    ):
        return []
    facts = {
        "batch_size": values["batch_size"],
        "drop_last": False,
        "max_iters": None,
        "max_epochs": values["max_epochs"],
        "accumulative_counts": 1,
        "schedulers": [{**scheduler, "type": kind.code}],
        "checkpoint": None,
        "evaluation": None,
    }
    plan = schedule(facts, datasets.find(workspace, config.dataset).rows, processes)
    more = {"max_epochs": math.ceil(FEW_UPDATES / plan.per_epoch), "warmup_ratio": 0.1}
    found = short_warmup(plan, more if plan.iters < FEW_UPDATES else None)
    return [found] if found else []


def _least_share(plan: Schedule) -> float | None:
    """Return the smallest warmup ratio, in steps of 0.001, that gives two iterations; None if the run is too short."""
    if plan.iters < 3:
        return None
    share = math.ceil(2000 / plan.iters) / 1000
    epochs = plan.iters / plan.per_epoch
    while int(share * epochs * plan.per_epoch) < 2:
        share = round(share + 0.001, 3)
    return share if share < 0.9 else None
