"""What XTuner 0.2.0, mmengine and DeepSpeed need on a machine without CUDA, where they ask torch for what it has not.

A part of the workers; imports torch alone until it is asked. Changes nothing on a machine with a GPU.
"""

import sys


def answer_bf16() -> None:
    """Give `torch.cpu` the question that importing XTuner asks it, and torch 2.5 does not have: no bf16 here."""
    import torch

    if not hasattr(torch.cpu, "is_bf16_supported"):
        torch.cpu.is_bf16_supported = lambda: False


def make_cpu_work() -> None:
    """Let XTuner train on a machine without CUDA; nothing where there is one."""
    import torch

    if torch.cuda.is_available():
        return
    answer_bf16()
    # mmengine picks a card for every rank, also with the gloo backend,
    torch.cuda.set_device = lambda _device: None
    # and names one to plain data parallel, which takes none on a CPU.
    from mmengine.runner import runner

    wrapper = runner.MMDistributedDataParallel

    def on_cpu(*arguments: object, **options: object) -> object:
        return wrapper(*arguments, **{**options, "device_ids": None})

    runner.MMDistributedDataParallel = on_cpu
    from xtuner.tools import train

    train.auto_dtype_of_deepspeed_config = single_precision
    build_no_operators()


def build_no_operators() -> None:
    """Have DeepSpeed compile nothing for ranks on one CPU to meet in shared memory: a minute, and inference's alone."""
    there = getattr(getattr(sys.modules.get("deepspeed"), "ops", None), "__compatible_ops__", None)
    if isinstance(there, dict):
        there["deepspeed_shm_comm"] = False


def single_precision(ds_config: dict) -> dict:
    """DeepSpeed's settings without half precision, which it refuses on a CPU and XTuner asks for there."""
    for kind in ("fp16", "bf16"):
        if kind in ds_config:
            ds_config[kind]["enabled"] = False
    return ds_config
