"""What keeps a training from this machine: no CUDA, too little memory or disk, packages that are not there."""

from collections.abc import Iterator
from typing import Any

from core.config.memory import memory
from core.forecast.case import Case, problem, said
from core.ground.problem import Problem
from core.models.shape import knows_sdpa


def machine(case: Case) -> Iterator[Problem]:
    """Settings that this machine or this installation cannot carry out."""
    facts, model = case.facts, case.facts["model"]
    # DeepSpeed takes the wrapper's place, in a precision that XTuner finds out.
    half = facts["wrapper"] != "OptimWrapper" and not facts.get("deepspeed")
    if not case.cuda and case.quantised:
        yield problem(
            "quantisation",
            ("没有可用的 CUDA 显卡，量化的权重无法加载", "there is no CUDA GPU, and quantised weights need one"),
            ("设置 quantisation=none 和 precision=fp32", "set quantisation=none and precision=fp32"),
            {"quantisation": "none", "precision": "fp32"},
            "error",
        )
    if not case.cuda and half:
        yield problem(
            "precision",
            ("没有可用的 CUDA 显卡，混合精度会报错退出", "there is no CUDA GPU, and mixed precision fails without"),
            ("设置 precision=fp32", "set precision=fp32"),
            {"precision": "fp32"},
            "error",
        )
    if case.quantised and not case.adapter:
        yield problem(
            "quantisation",
            ("量化的权重不能直接训练", "quantised weights cannot be trained themselves"),
            ("设置 method=qlora，或 quantisation=none", "set method=qlora, or quantisation=none"),
            {"method": "qlora"},
            "error",
        )
    dtype = facts["amp_dtype"] or "float16"
    if case.cuda and half and dtype == "float16" and "bfloat16" in str(case.shape and case.shape.dtype):
        yield problem(
            "precision",
            (
                "模型以 bf16 训练而成，用 fp16 可能溢出成 NaN",
                "the model was made in bf16: in fp16 it may overflow to NaN",
            ),
            ("设置 precision=bf16", "set precision=bf16"),
            {"precision": "bf16"} if case.machine.get("bf16") else None,
        )
    if case.cuda and half and dtype == "bfloat16" and not case.machine.get("bf16"):
        yield problem(
            "precision",
            ("这张显卡不支持 bf16", "this GPU cannot do bf16"),
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
                "varlen attention takes a batch size of 1, or XTuner fails",
            ),
            ("设置 batch_size=1", "set batch_size=1"),
            {"batch_size": 1},
            "error",
        )
    flash = varlen or (model.get("llm") or {}).get("attn_implementation") == "flash_attention_2"
    if flash and not case.machine.get("flash"):
        yield problem(
            "use_varlen_attn" if varlen else "attn_implementation",
            ("需要 flash-attn，这里没有安装", "this needs flash-attn, which is not installed here"),
            ("关掉它，或安装 flash-attn", "switch it off, or install flash-attn"),
            {"use_varlen_attn": False} if varlen else {"attn_implementation": "eager"},
            "error",
        )


def space(case: Case) -> Iterator[Problem]:
    """More memory than is free."""
    if case.needed_mb is None or case.shape is None or case.needed_mb <= case.free_mb:
        return
    fix = smaller(case)
    has, wants = case.free_mb / 1000, case.needed_mb / 1000
    place = ("显存", "of GPU memory") if case.cuda else ("内存", "of memory")
    yield problem(
        "memory",
        (
            f"大约需要 {wants:.1f} GB {place[0]}，现在空闲 {has:.1f} GB：会溢出",
            f"it takes about {wants:.1f} GB {place[1]}, {has:.1f} GB are free: it will run out",
        ),
        (
            f"设置 {said(fix)}" if fix else "换更小的模型，或释放内存",
            f"set {said(fix)}" if fix else "take a smaller model, or free memory",
        ),
        fix,
        "error",
    )


def disk(case: Case) -> Iterator[Problem]:
    """More checkpoints than the disk holds."""
    wanted = case.checkpoint_bytes * (case.schedule.kept + 1)
    if wanted > case.free_disk:
        yield problem(
            "save_total_limit",
            (
                f"检查点约需 {wanted / 1e9:.1f} GB 磁盘，只剩 {case.free_disk / 1e9:.1f} GB",
                f"the checkpoints take about {wanted / 1e9:.1f} GB of disk, {case.free_disk / 1e9:.1f} GB are left",
            ),
            ("设置 save_total_limit=1，或清理磁盘", "set save_total_limit=1, or clean up"),
            {"save_total_limit": 1},
            "error",
        )


def smaller(case: Case) -> dict[str, Any] | None:
    """The mildest settings with which the training fits, in the order of what they cost; None where none do."""
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
