"""Weights beside an adapter stay in bf16 if the config loads them so; XTuner turns them into single precision.

Part of `entry`, in the engine's interpreter. XTuner prepares every model with an adapter as if its weights were
quantized: those that are not become float32. They then take twice the memory, autocast rounds them to bf16 again at
each use, and hidden states are in float32, unlike in the chat. Not for float16, which overflows, nor for quantized
weights or DeepSpeed, which casts the complete model itself.
"""

import sys


def leave_in_bf16() -> None:
    """Make XTuner leave them as they are loaded, unless DeepSpeed trains."""
    if "--deepspeed" in sys.argv:
        return
    import torch
    from xtuner.model import sft

    prepare = sft.prepare_model_for_kbit_training

    def prepared(model: torch.nn.Module, *arguments: object, **options: object) -> torch.nn.Module:
        if any(weight.dtype is not torch.bfloat16 for weight in model.parameters()):
            return prepare(model, *arguments, **options)
        return model.requires_grad_(False)

    sft.prepare_model_for_kbit_training = prepared
