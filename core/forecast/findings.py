"""Every problem that a forecast shows, all at once: each with its place, what follows, what to do, and the settings that do it.

Looks at facts and numbers that others measured; measures nothing. What this machine cannot do is in `obstacles`.
"""

import math
from collections.abc import Iterator
from typing import Any

from core.forecast.case import Case, problem, said
from core.forecast.obstacles import disk, machine, space
from core.forecast.schedule import FEW_UPDATES
from core.forecast.warmup import short_warmup
from core.ground.problem import Problem

TINY_PARAMETERS = 50_000_000
# Learning rates that people train with: least, most, and one to take instead.
_RATES = {"adapter": (1e-5, 3e-3, 2e-4), "full": (1e-6, 1e-4, 2e-5)}
_RATES_TINY = {"adapter": (1e-4, 2e-2, 2e-3), "full": (1e-4, 1e-2, 1e-3)}
_DEFAULT_TEMPLATE = "default"


def findings(case: Case) -> list[Problem]:
    """All problems of a case, errors first."""
    looks = (_schedule, _learning, machine, _data, space, disk)
    found = [one for look in looks for one in look(case)]
    return sorted(found, key=lambda one: one.severity != "error")


def _schedule(case: Case) -> Iterator[Problem]:
    plan, facts = case.schedule, case.facts
    warm = short_warmup(plan, _more_updates(case) if plan.iters < FEW_UPDATES else None)
    if warm:
        yield warm
    if plan.updates < FEW_UPDATES:
        fix = _more_updates(case)
        yield problem(
            "accumulative_counts",
            (
                f"{plan.iters} 次迭代总共只有 {plan.updates} 次参数更新，多半学不会",
                f"{plan.iters} iterations are only {plan.updates} optimizer updates in all: too few to learn",
            ),
            (f"设置 {said(fix)}", f"set {said(fix)}"),
            fix,
        )
    save = (facts["checkpoint"] or {}).get("interval", -1)
    if save > plan.iters:
        fix = {"save_steps": max(1, plan.iters // 3)}
        yield problem(
            "save_steps",
            (
                f"每 {save} 次迭代保存，但总共只有 {plan.iters} 次：途中不会有检查点",
                f"a checkpoint every {save} iterations, of {plan.iters} in all: none before the end",
            ),
            (f"设置 {said(fix)}", f"set {said(fix)}"),
            fix,
        )
    every = (facts["evaluation"] or {}).get("every_n_iters")
    if every and every > plan.iters:
        fix = {"evaluation_freq": max(1, plan.iters // 6)}
        yield problem(
            "evaluation_freq",
            (
                f"每 {every} 次迭代评测，但总共只有 {plan.iters} 次：途中看不到回答",
                f"an evaluation every {every} iterations, of {plan.iters} in all: no answers on the way",
            ),
            (f"设置 {said(fix)}", f"set {said(fix)}"),
            fix,
        )
    if facts["max_epochs"] and facts["max_iters"]:
        yield problem(
            "max_epochs",
            (
                "同时给了 max_epochs 和 max_iters，XTuner 会拒绝",
                "both max_epochs and max_iters are given, XTuner refuses",
            ),
            ("在 Python 里删掉其中一个", "take one of them out of the Python"),
            severity="error",
        )
    low, high = facts["data"].get("packs", [0, 0])
    if low != high:
        yield problem(
            "seed",
            (
                f"没有固定随机种子，打包结果会在 {low} 到 {high} 个序列之间变化，迭代数随之变化",
                f"no seed is fixed: packing gives {low} to {high} sequences, and the iterations change with it",
            ),
            ("设置 seed，或 map_num_proc=1", "fix the seed, or set map_num_proc=1"),
            {"map_num_proc": 1},
        )


def _learning(case: Case) -> Iterator[Problem]:
    rate = case.facts["optimizer"].get("lr")
    rates = _RATES_TINY if 0 < case.model.parameters < TINY_PARAMETERS else _RATES
    low, high, usual = rates["adapter" if case.adapter else "full"]
    if isinstance(rate, int | float) and not low <= rate <= high:
        way = ("适配器", "an adapter") if case.adapter else ("全量训练", "full training")
        yield problem(
            "lr",
            (
                f"学习率 {rate:g} 超出{way[0]}常用的 {low:g} … {high:g}",
                f"a learning rate of {rate:g} is outside {low:g} … {high:g}, what {way[1]} takes",
            ),
            (f"设置 lr={usual:g}", f"set lr={usual:g}"),
            {"lr": usual},
        )
    template, own = case.facts["data"].get("template"), case.model.prompt_template
    if template and own != _DEFAULT_TEMPLATE and template != own:
        yield problem(
            "prompt_template",
            (
                f"对话模板是 {template}，但模型 {case.model.name}（{case.model.architecture}）用的是 {own}",
                f"the prompt template is {template}, but the model {case.model.name} ({case.model.architecture}) "
                f"speaks {own}",
            ),
            (f"设置 prompt_template={own}", f"set prompt_template={own}"),
            {"prompt_template": own},
        )
    longest, positions = case.facts["data"].get("longest", 0), case.shape.positions if case.shape else 0
    if positions and longest > positions:
        yield problem(
            "max_length",
            (
                f"最长的序列有 {longest} 个 token，超过模型的上限 {positions}",
                f"the longest sequence has {longest} tokens, the model takes {positions}",
            ),
            (f"设置 max_length={positions}", f"set max_length={positions}"),
            {"max_length": positions},
        )


def _data(case: Case) -> Iterator[Problem]:
    data, rows, unique = case.facts["data"], case.dataset.rows, case.dataset.unique_rows
    if rows > 100 and unique < rows / 100:
        yield problem(
            "dataset",
            (
                f"{rows} 行里只有 {unique} 行不同（{100 * (1 - unique / rows):.2f}% 是重复的）：很快就会过拟合，什么都答这几句",
                f"only {unique} of {rows} rows differ ({100 * (1 - unique / rows):.2f}% are repeats): it overfits, and "
                "answers everything with them",
            ),
            ("换用 balanced 数据集", "use the balanced dataset"),
        )
    if data.get("packed") and not case.facts["model"].get("use_varlen_attn"):
        few = case.schedule.updates < 200
        yield problem(
            "pack_to_max_length",
            (
                "打包但没有变长注意力：一条样本能看到同一包里更早的样本，重复的答案可以照抄",
                "packed without varlen attention: a row sees those before it in its pack, and can copy repeated answers",
            ),
            ("样本少时关闭打包", "with few rows switch packing off"),
            {"pack_to_max_length": False} if few else None,
        )
    if data.get("truncated"):
        most = min(data["raw_longest"], (case.shape and case.shape.positions) or data["raw_longest"])
        length = 1 << (most - 1).bit_length()
        yield problem(
            "max_length",
            (
                f"{data['truncated']} 行会被截断（最长 {data['raw_longest']} 个 token）：答案的结尾学不到",
                f"{data['truncated']} rows are cut off (the longest has {data['raw_longest']} tokens): the ends of "
                "their answers are not learned",
            ),
            (f"设置 max_length={length}", f"set max_length={length}"),
            {"max_length": length},
        )
    if data.get("dropped"):
        yield problem(
            "dataset",
            (
                f"{data['dropped']} 行没有可学的答案，XTuner 会丢掉",
                f"{data['dropped']} rows have no answer to learn: XTuner leaves them out",
            ),
            ("检查这些行的 output", "look at the output of these rows"),
        )


def _more_updates(case: Case) -> dict[str, Any]:
    plan, facts = case.schedule, case.facts
    fix: dict[str, Any] = {}
    per_epoch = plan.per_epoch
    if facts["accumulative_counts"] > 1:
        fix["accumulative_counts"] = 1
    if plan.iters < FEW_UPDATES and facts["data"].get("packed") and not facts["model"].get("use_varlen_attn"):
        fix["pack_to_max_length"] = False
        per_epoch = math.ceil((case.dataset.rows - facts["data"].get("dropped", 0)) / facts["batch_size"])
    if plan.iters < FEW_UPDATES and plan.warms:
        # Enough of as many iterations as there are then.
        fix["warmup_ratio"] = 0.1
    if facts["max_iters"]:
        return fix | ({"max_iters": FEW_UPDATES} if plan.iters < FEW_UPDATES else {})
    if per_epoch * facts["max_epochs"] < FEW_UPDATES:
        fix["max_epochs"] = math.ceil(FEW_UPDATES / per_epoch)
    return fix
