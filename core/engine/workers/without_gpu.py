"""Patches for XTuner 0.2.0, mmengine and DeepSpeed on a machine without CUDA, where they call torch functions it lacks.

Part of the workers; imports only torch until called. `make_cpu_work` changes nothing on a machine with a GPU.
"""

import contextlib
import ctypes
import sys

# glibc's numbers for what follows, and the largest size that it takes.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _ANY = -3, -1, 2**31 - 1


def answer_bf16() -> None:
    """Add the function to `torch.cpu` that XTuner calls on import and torch 2.5 lacks: bf16 is not supported here."""
    import torch

    if not hasattr(torch.cpu, "is_bf16_supported"):
        torch.cpu.is_bf16_supported = lambda: False


def make_cpu_work() -> None:
    """Let XTuner train on a machine without CUDA; does nothing where there is a GPU."""
    import torch

    if torch.cuda.is_available():
        return
    keep_memory()
    answer_bf16()
    # mmengine selects a GPU for every rank, even with the gloo backend,
    torch.cuda.set_device = lambda _device: None
    # and passes one to plain data parallel, which accepts none on a CPU.
    from mmengine.runner import runner

    wrapper = runner.MMDistributedDataParallel

    def on_cpu(*arguments: object, **options: object) -> object:
        return wrapper(*arguments, **{**options, "device_ids": None})

    runner.MMDistributedDataParallel = on_cpu
    from xtuner.tools import train

    train.auto_dtype_of_deepspeed_config = single_precision
    build_no_operators()
    if "--deepspeed" not in sys.argv:
        mix_precision()


def keep_memory() -> None:
    """Let the C library keep the memory that it is given back, if it can: every step needs as much again.

    Getting it from the system page by page was a seventh of a step (SmolLM2-135M). Not for a GPU, where the memory that
    weights were loaded into is not needed again.
    """
    # Another C library has no such function. An older glibc refuses such a threshold; then nothing is changed.
    with contextlib.suppress(AttributeError):
        of_c = ctypes.CDLL(None)
        if of_c.mallopt(_M_MMAP_THRESHOLD, _ANY):
            of_c.mallopt(_M_TRIM_THRESHOLD, _ANY)


def mix_precision() -> None:
    """Let mmengine's mixed precision compute in bf16 on a processor: it asks for a GPU, though its autocast needs none."""
    from mmengine.optim.optimizer import amp_optimizer_wrapper

    amp_optimizer_wrapper.is_cuda_available = lambda: True


def build_no_operators() -> None:
    """Keep DeepSpeed from compiling its shared-memory operator for ranks on one CPU.

    It takes a minute, and only inference uses it.
    """
    there = getattr(getattr(sys.modules.get("deepspeed"), "ops", None), "__compatible_ops__", None)
    if isinstance(there, dict):
        there["deepspeed_shm_comm"] = False


def single_precision(ds_config: dict) -> dict:
    """Turn off half precision in DeepSpeed's settings: it refuses it on a CPU, where XTuner still asks for it."""
    for kind in ("fp16", "bf16"):
        if kind in ds_config:
            ds_config[kind]["enabled"] = False
    return ds_config
