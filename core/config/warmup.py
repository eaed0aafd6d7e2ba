"""A warm-up that is too short, found before the training: XTuner dies of one of zero iterations, and one of a single
iteration leaves the learning rate where it begins (`optimization.check_warmup`). Looks at numbers; measures nothing.
"""

import math

from core.config.case import problem, said
from core.config.config import Config
from core.config.schedule import FEW_UPDATES, Schedule, schedule
from core.engine.config_file import ConfigFile, Source
from core.ground.problem import Problem


def short_warmup(plan: Schedule) -> Problem | None:
    """The problem of a schedule with too short a warm-up."""
    short = [end - begin for begin, end, least in plan.ramps if end - begin < least]
    if not short:
        return None
    share = _least_share(plan)
    fix = {"warmup_ratio": share} if share else {"max_epochs": math.ceil(FEW_UPDATES / plan.per_epoch)}
    return problem(
        "warmup_ratio",
        (
            "预热只有一次迭代：XTuner 的学习率会一直停在起点（设定值的十万分之一），什么也学不会",
            "the warm-up has one iteration: XTuner's learning rate stays where it begins, at a 100,000th of what is set, "
            "and nothing is learned",
        )
        if max(short) == 1
        else ("预热的迭代数为零，XTuner 会因此报错退出", "the warm-up has zero iterations, of which XTuner dies"),
        (f"设置 {said(fix)}，或增大 max_epochs", f"set {said(fix)}, or more epochs"),
        fix,
        "error",
    )


def check_warmup(config: Config, rows: int, processes: int) -> list[Problem]:
    """The same, of a config with a preset's kind of warm-up whose `rows` are not packed, without measuring the data.

    Of any other one nothing is known before it is measured.
    """
    values, file = config.values(), ConfigFile(config.text())
    warm = {key: file.get(f"param_scheduler[0].{key}") for key in ("end", "start_factor", "convert_to_iter_based")}
    kind = file.get("param_scheduler[0].type")
    numbers = (warm["end"], warm["start_factor"], values.get("max_epochs"), values.get("batch_size"))
    if (
        not all(isinstance(number, int | float) for number in numbers)
        or values.get("pack_to_max_length") is not False
        or not isinstance(kind, Source)
    ):
        return []
    facts = {
        "batch_size": values["batch_size"],
        "drop_last": False,
        "max_iters": None,
        "max_epochs": values["max_epochs"],
        "accumulative_counts": 1,
        "schedulers": [{**warm, "type": kind.code}],
        "checkpoint": None,
        "evaluation": None,
    }
    found = short_warmup(schedule(facts, rows, processes))
    return [found] if found else []


def _least_share(plan: Schedule) -> float | None:
    """The least share, to a thousandth, whose warm-up has two iterations; None where the run has no room for them."""
    if plan.iters < 3:
        return None
    share = math.ceil(2000 / plan.iters) / 1000
    epochs = plan.iters / plan.per_epoch
    while int(share * epochs * plan.per_epoch) < 2:
        share = round(share + 0.001, 3)
    return share if share < 0.9 else None
