"""Linear layers for a few tokens on a processor, which is what questions read: the same products, by a shorter way.

An adapter's layer under autocast converts both of its matrices to half precision for every token, and multiplies them
there, where so small a product takes six times as long as in single precision. A product of bf16 weights with a few
tokens rearranges all the weights first, unless the tokens are on the right-hand side. Part of the workers.
"""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

# Tokens up to which the product is faster the other way round, and weights up to which threads wait for each other longer
# than they save.
FEW, FEW_WEIGHTS = 16, 1 << 21


@contextlib.contextmanager
def inference(model: Any, wrapper: Any) -> "Iterator[None]":
    """Switch XTuner's model to inference in its training precision, which its optimizer's wrapper tells, and back."""
    import torch
    from mmengine.optim import AmpOptimWrapper
    from mmengine.runner.amp import autocast

    checkpointing, use_cache = model.llm.is_gradient_checkpointing, model.llm.config.use_cache
    training = model.training
    model.activation_checkpointing_disable()
    model.llm.config.use_cache = True
    model.eval()
    precision = wrapper.cast_dtype if isinstance(wrapper, AmpOptimWrapper) else None
    try:
        with torch.no_grad(), shorter_ways(model.llm, precision) as short:
            with contextlib.nullcontext() if short or precision is None else autocast(dtype=precision):
                yield
    finally:
        if checkpointing:
            model.activation_checkpointing_enable()
        model.llm.config.use_cache = use_cache
        model.train(training)


@contextlib.contextmanager
def shorter_ways(llm: Any, precision: Any = None) -> "Iterator[bool]":
    """Compute a model's linear layers like this for a while; yield whether it does, and needs no autocast then.

    `precision` is autocast's, if there is one. Only on a processor, for a frozen model of one precision, the one it is
    computed in, with a plain LoRA adapter; the model is in inference mode.
    """
    changed = _changed(llm, precision)
    for layer, forward in changed.items():
        layer.forward = forward
    try:
        yield bool(changed)
    finally:
        for layer in changed:
            del layer.forward


def small(model: Any) -> bool:
    """Return whether all linear layers of a model are so small, on a processor, that one thread is enough for few tokens."""
    import torch

    weights = [layer.weight for layer in model.modules() if type(layer) is torch.nn.Linear]
    return all(weight.device.type == "cpu" and weight.numel() <= FEW_WEIGHTS for weight in weights)


@contextlib.contextmanager
def one_thread() -> "Iterator[None]":
    """Compute in one thread for a while."""
    import torch

    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def product(tokens: Any, layer: Any) -> Any:
    """Return what a linear layer makes of tokens (..., size)."""
    import torch

    rows = tokens.reshape(-1, tokens.shape[-1])
    if len(rows) > FEW or layer.weight.dtype is not torch.bfloat16:
        return torch.nn.functional.linear(tokens, layer.weight, layer.bias)
    # A single one would not be on the right-hand side.
    beside = rows.expand(2, -1) if len(rows) == 1 else rows
    made = torch.mm(layer.weight, beside.t()).t()[: len(rows)].reshape(*tokens.shape[:-1], -1)
    return made if layer.bias is None else made + layer.bias


def _with_adapter(tokens: Any, layer: Any) -> Any:
    """Return what a linear layer with an adapter makes of tokens, unless the adapter is disabled."""
    made = product(tokens, layer.base_layer)
    if layer.disable_adapters:
        return made
    (name,) = layer.active_adapters
    into, out = layer.lora_A[name].weight, layer.lora_B[name].weight
    return made + (tokens.to(into.dtype) @ into.t() @ out.t() * layer.scaling[name]).to(made.dtype)


def _changed(llm: Any, precision: Any) -> "dict[Any, Callable[[Any], Any]]":
    """Return the layers to be computed otherwise, and how; none where anything else might be different then."""
    import torch

    if "peft" not in sys.modules:
        return {}
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [layer for layer in llm.modules() if isinstance(layer, BaseTunerLayer)]
    if not adapted or not all(map(_plain, adapted)):
        return {}
    of_adapter = {
        id(weight) for layer in adapted for part in (layer.lora_A, layer.lora_B) for weight in part.parameters()
    }
    kinds = {(weight.device.type, weight.dtype) for weight in llm.parameters() if id(weight) not in of_adapter}
    own = kinds.pop()
    if kinds or own[0] != "cpu" or precision not in (None, own[1]):
        return {}
    others = [layer for layer in llm.modules() if type(layer) is torch.nn.Linear]
    changed = {layer: functools.partial(product, layer=layer) for layer in others}
    return changed | {layer: functools.partial(_with_adapter, layer=layer) for layer in adapted}


def _plain(layer: Any) -> bool:
    """Return whether an adapter's layer is LoRA and nothing else."""
    import torch
    from peft.tuners.lora import Linear

    if type(layer) is not Linear or type(layer.base_layer) is not torch.nn.Linear or len(layer.active_adapters) != 1:
        return False
    special = [*layer.use_dora.values(), *getattr(layer, "lora_variant", {}), layer.merged, layer.fan_in_fan_out]
    return not any(special) and all(part.bias is None for part in layer.lora_B.values())
