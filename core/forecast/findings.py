"""All problems that a forecast reports: each with its place, the consequence, what to do, and the settings that do it.

Uses facts and numbers from elsewhere; measures nothing.
"""

import math
from collections.abc import Iterator
from typing import Any

from core.config.memory import memory
from core.data.claims import foreign_claim
from core.forecast.case import Case, problem, said
from core.forecast.prompt import prompt
from core.forecast.schedule import FEW_UPDATES
from core.forecast.warmup import short_warmup
from core.ground.cores import multiply_bf16
from core.ground.figures import size, size_of_mb
from core.ground.problem import Problem
from core.models.family import family_of
from core.models.shape import knows_sdpa

# Usual learning rates: minimum, maximum, and one to suggest.
_RATES = {"adapter": (1e-5, 3e-3, 2e-4), "full": (1e-6, 1e-4, 2e-5)}
_RATES_TINY = {"adapter": (1e-4, 2e-2, 2e-3), "full": (1e-4, 1e-2, 1e-3)}


def findings(case: Case) -> list[Problem]:
    """Return all problems of a case, errors first."""
    looks = (_schedule, _learning, prompt, _machine, _data, _space, _disk)
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
                f"{plan.iters} iterations make only {plan.updates} optimizer updates: too few to learn",
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
                f"a checkpoint every {save} iterations, but {plan.iters} in total: none before the end",
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
                f"an evaluation every {every} iterations, but {plan.iters} in total: no answers during training",
            ),
            (f"设置 {said(fix)}", f"set {said(fix)}"),
            fix,
        )
    if facts["max_epochs"] and facts["max_iters"]:
        yield problem(
            "max_epochs",
            (
                "同时给了 max_epochs 和 max_iters，XTuner 会拒绝",
                "both max_epochs and max_iters are set, which XTuner refuses",
            ),
            ("在 Python 里删掉其中一个", "remove one of them in the Python file"),
            severity="error",
        )
    low, high = facts["data"].get("packs", [0, 0])
    if low != high:
        yield problem(
            "seed",
            (
                f"没有固定随机种子，打包结果会在 {low} 到 {high} 个序列之间变化，迭代数随之变化",
                f"no fixed seed: packing gives {low} to {high} sequences, so the number of iterations varies",
            ),
            ("设置 seed，或 map_num_proc=1", "set a seed, or map_num_proc=1"),
            {"map_num_proc": 1},
        )


def _learning(case: Case) -> Iterator[Problem]:
    rate = case.facts["optimizer"].get("lr")
    rates = _RATES_TINY if 0 < case.model.parameters and case.model.toy else _RATES
    low, high, usual = rates["adapter" if case.adapter else "full"]
    if isinstance(rate, int | float) and not low <= rate <= high:
        way = ("适配器", "an adapter") if case.adapter else ("全量微调", "full fine-tuning")
        yield problem(
            "lr",
            (
                f"学习率 {rate:g} 超出{way[0]}常用的 {low:g} … {high:g}",
                f"the learning rate {rate:g} is outside {low:g} … {high:g}, the usual range for {way[1]}",
            ),
            (f"设置 lr={usual:g}", f"set lr={usual:g}"),
            {"lr": usual},
        )
    longest, positions = case.facts["data"].get("longest", 0), case.shape.positions if case.shape else 0
    if positions and longest > positions:
        yield problem(
            "max_length",
            (
                f"最长的序列有 {longest} 个 token，超过模型的上限 {positions}",
                f"the longest sequence has {longest} tokens; the model supports {positions}",
            ),
            (f"设置 max_length={positions}", f"set max_length={positions}"),
            {"max_length": positions},
        )


def _data(case: Case) -> Iterator[Problem]:
    data, rows, unique = case.facts["data"], case.dataset.rows, case.dataset.unique_rows
    own = family_of(case.model)
    claimed = foreign_claim(case.dataset, own)
    if claimed is not None:
        family, answer = claimed
        is_zh, is_en = (own.label.zh, own.label.en) if own else ("别的模型", "another model")
        yield problem(
            "dataset",
            (
                f"数据教模型说自己是{family.label.zh}（“{answer[:40]}”），而模型 {case.model.name} 是{is_zh}",
                f"the data teaches the model to call itself {family.label.en} ({answer[:60]!r}), but {case.model.name} is "
                f"{is_en}",
            ),
            (
                "在“数据集”页为这个模型重新生成数据集（datasets assistant --model），或修改回答里的模型名和开发者",
                "create the dataset again for this model on the Dataset page (datasets assistant --model), or change the name and developer in its answers",
            ),
        )
    if rows > 100 and unique < rows / 100:
        yield problem(
            "dataset",
            (
                f"{rows} 行里只有 {unique} 行不同（{100 * (1 - unique / rows):.2f}% 是重复的）：很快就会过拟合，什么都答这几句",
                f"only {unique} of {rows} rows differ ({100 * (1 - unique / rows):.2f}% are duplicates): the model overfits and answers everything with them",
            ),
            ("换用 balanced 数据集", "use the balanced dataset"),
        )
    if data.get("packed") and not case.facts["model"].get("use_varlen_attn"):
        few = case.schedule.updates < 200
        yield problem(
            "pack_to_max_length",
            (
                "打包但没有变长注意力：一条样本能看到同一包里更早的样本，重复的答案可以照抄",
                "packing without varlen attention: a row sees earlier rows in its pack and can copy repeated answers",
            ),
            ("样本少时关闭打包", "for small datasets, turn packing off"),
            {"pack_to_max_length": False} if few else None,
        )
    if data.get("truncated"):
        most = min(data["raw_longest"], (case.shape and case.shape.positions) or data["raw_longest"])
        length = 1 << (most - 1).bit_length()
        yield problem(
            "max_length",
            (
                f"{data['truncated']} 行会被截断（最长 {data['raw_longest']} 个 token）：答案的结尾学不到",
                f"{data['truncated']} rows are truncated (the longest has {data['raw_longest']} tokens): the ends of "
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
                f"{data['dropped']} rows have no answer to train on: XTuner skips them",
            ),
            ("检查这些行的 output", "check the output of these rows"),
        )


def _machine(case: Case) -> Iterator[Problem]:
    """Yield settings that this machine or installation does not support."""
    facts, model = case.facts, case.facts["model"]
    # DeepSpeed replaces the wrapper, and XTuner chooses its precision.
    half = facts["wrapper"] != "OptimWrapper" and not facts.get("deepspeed")
    if not case.cuda and case.quantised:
        yield problem(
            "quantisation",
            ("没有可用的 CUDA 显卡，量化的权重无法加载", "quantized weights need a CUDA GPU, and there is none"),
            ("设置 quantisation=none 和 precision=fp32", "set quantisation=none and precision=fp32"),
            {"quantisation": "none", "precision": "fp32"},
            "error",
        )
    dtype = facts["amp_dtype"] or "float16"
    if not case.cuda and half and dtype != "bfloat16":
        yield problem(
            "precision",
            ("没有可用的 CUDA 显卡，fp16 会报错退出", "fp16 needs a CUDA GPU, and there is none"),
            ("设置 precision=fp32", "set precision=fp32"),
            {"precision": "fp32"},
            "error",
        )
    elif not case.cuda and half and not multiply_bf16():
        yield problem(
            "precision",
            (
                "这台机器的处理器没有 bf16 指令，会很慢",
                "this machine's processor has no bf16 instructions, so it would be slow",
            ),
            ("设置 precision=fp32", "set precision=fp32"),
            {"precision": "fp32"},
        )
    if case.quantised and not case.adapter:
        yield problem(
            "quantisation",
            ("量化的权重不能直接训练", "quantized weights cannot be trained directly"),
            ("设置 method=qlora，或 quantisation=none", "set method=qlora, or quantisation=none"),
            {"method": "qlora"},
            "error",
        )
    if case.cuda and half and dtype == "float16" and "bfloat16" in str(case.shape and case.shape.dtype):
        yield problem(
            "precision",
            (
                "模型以 bf16 训练而成，用 fp16 可能溢出成 NaN",
                "the model was trained in bf16: in fp16 it may overflow to NaN",
            ),
            ("设置 precision=bf16", "set precision=bf16"),
            {"precision": "bf16"} if case.machine.get("bf16") else None,
        )
    if case.cuda and half and dtype == "bfloat16" and not case.machine.get("bf16"):
        yield problem(
            "precision",
            ("这张显卡不支持 bf16", "this GPU does not support bf16"),
            ("设置 precision=fp16", "set precision=fp16"),
            {"precision": "fp16"},
            "error",
        )
    varlen = bool(model.get("use_varlen_attn"))
    if varlen and facts["batch_size"] > 1:
        yield problem(
            "batch_size",
            (
                "变长注意力要求批大小为 1，XTuner 会报错退出",
                "varlen attention requires a batch size of 1; otherwise XTuner fails",
            ),
            ("设置 batch_size=1", "set batch_size=1"),
            {"batch_size": 1},
            "error",
        )
    flash = varlen or (model.get("llm") or {}).get("attn_implementation") == "flash_attention_2"
    if flash and not case.machine.get("flash"):
        yield problem(
            "use_varlen_attn" if varlen else "attn_implementation",
            ("需要 flash-attn，这里没有安装", "this requires flash-attn, which is not installed"),
            ("关掉它，或安装 flash-attn", "turn it off, or install flash-attn"),
            {"use_varlen_attn": False} if varlen else {"attn_implementation": "eager"},
            "error",
        )


def _space(case: Case) -> Iterator[Problem]:
    """Yield a problem if more memory is needed than is free."""
    if case.needed_mb is None or case.shape is None or case.needed_mb <= case.free_mb:
        return
    fix = _smaller(case)
    has, wants = size_of_mb(case.free_mb), size_of_mb(case.needed_mb)
    place = ("显存", "of GPU memory") if case.cuda else ("内存", "of memory")
    yield problem(
        "memory",
        (
            f"大约需要 {wants} {place[0]}，现在空闲 {has}：会溢出",
            f"training needs about {wants} {place[1]}, {has} free: it will run out of memory",
        ),
        (
            f"设置 {said(fix)}" if fix else "换更小的模型，或释放内存",
            f"set {said(fix)}" if fix else "use a smaller model, or free memory",
        ),
        fix,
        "error",
    )


def _disk(case: Case) -> Iterator[Problem]:
    """Yield a problem if the checkpoints do not fit on the disk."""
    wanted = case.checkpoint_bytes * (case.schedule.kept + 1)
    if wanted > case.free_disk:
        yield problem(
            "save_total_limit",
            (
                f"检查点约需 {size(wanted)} 磁盘，只剩 {size(case.free_disk)}",
                f"the checkpoints need about {size(wanted)} of disk space, {size(case.free_disk)} free",
            ),
            ("设置 save_total_limit=1，或清理磁盘", "set save_total_limit=1, or free some space"),
            {"save_total_limit": 1},
            "error",
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
        # Enough for the resulting number of iterations.
        fix["warmup_ratio"] = 0.1
    if facts["max_iters"]:
        return fix | ({"max_iters": FEW_UPDATES} if plan.iters < FEW_UPDATES else {})
    if per_epoch * facts["max_epochs"] < FEW_UPDATES:
        fix["max_epochs"] = math.ceil(FEW_UPDATES / per_epoch)
    return fix


def _smaller(case: Case) -> dict[str, Any] | None:
    """Return the mildest settings with which training fits, cheapest first; None if none do."""
    fix: dict[str, Any] = {}
    facts = {**case.facts, "model": {**case.facts["model"], "llm": {**(case.facts["model"].get("llm") or {})}}}
    data = dict(facts["data"])
    facts["data"] = data
    others = case.needed_mb - case.memory.total_mb

    def fits() -> bool:
        return memory(case.shape, facts, cuda=case.cuda).total_mb + others <= case.free_mb

    if not facts["model"].get("use_activation_checkpointing", True):
        facts["model"]["use_activation_checkpointing"] = fix["use_activation_checkpointing"] = True
    while not fits() and facts["batch_size"] > 1:
        facts["batch_size"] = fix["batch_size"] = facts["batch_size"] // 2
    eager = (facts["model"]["llm"].get("attn_implementation") or case.shape.attention) == "eager"
    if not fits() and eager and case.cuda and knows_sdpa(case.model.path):
        facts["model"]["llm"]["attn_implementation"] = fix["attn_implementation"] = "sdpa"
    if not fits() and case.cuda and not case.quantised:
        facts["model"]["llm"]["quantization_config"] = {"load_in_4bit": True}
        facts["model"]["lora"] = facts["model"].get("lora") or {"r": 64, "lora_dropout": 0.1}
        fix["method"] = "qlora"
    while not fits() and data["longest"] > 256 and data.get("packed"):
        data["longest"] = fix["max_length"] = data["longest"] // 2
    return fix if fix and fits() else None
