"""Recognizes models whose steps `fused_step` can run: built like Llama (Llama, Mistral, Qwen2, InternLM2).

Part of the chat worker. Such a model consists of blocks of normalization, attention with rotary angles, and a gated
product; it is recognized by its modules and parameters, not by its name. The weights are used where they are, stacked in
place where several multiply the same vector. Whether the result is right is not judged here: `decoding` compares it with
the model's plain forward pass.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from core.engine.workers.row_adapters import RowLinear


@dataclass(frozen=True)
class Product:
    """Linear layers that multiply the same vector, as one: their weights stacked, and their paths in the model."""

    paths: "tuple[str, ...]"
    weight: torch.Tensor
    bias: "torch.Tensor | None"
    # The first output of each layer.
    starts: "tuple[int, ...]"


@dataclass(frozen=True)
class Block:
    """A block of the model: two normalizations and four products."""

    norm: torch.Tensor
    qkv: Product
    out: Product
    next_norm: torch.Tensor
    gate_up: Product
    down: Product


class Fused:
    """The blocks of a model, recognized. Raises ValueError for a model of another structure."""

    def __init__(self, model: Any, inner: Any) -> None:
        config = model.config
        self.model, self.inner = model, inner
        self.embeddings, self.head = model.get_input_embeddings(), model.get_output_embeddings()
        layers = list(inner.layers)
        self.queries = config.num_attention_heads
        self.keys = getattr(config, "num_key_value_heads", None) or self.queries
        names = {id(module): name for name, module in model.named_modules()}
        first = getattr(layers[0], "self_attn", None) or layers[0].attention
        self.size = first.head_dim
        if self.size not in (16, 32, 64, 128, 256) or self.queries % self.keys:
            raise ValueError(f"its heads have {self.size} numbers")
        self.scale = getattr(first, "scaling", None) or self.size**-0.5
        # InternLM2 stores the heads of queries with their key and value; others all queries first.
        self.grouped = hasattr(first, "wqkv")
        self.eps = _eps(inner.norm)
        self.blocks = [self._block(layer, names) for layer in layers]
        head = _plain(self.head)
        self.end = inner.norm.weight
        self.final = Product((names[id(self.head)],), head.weight, head.bias, (0,))
        if type(self.embeddings) is not nn.Embedding:
            raise ValueError("its embeddings are not a plain table")

    @property
    def paths(self) -> "set[str]":
        """The layers whose adapters a step can add."""
        found = {path for block in self.blocks for part in products(block) for path in part.paths}
        return found | set(self.final.paths)

    def _block(self, layer: Any, names: "dict[int, str]") -> Block:
        attention = getattr(layer, "self_attn", None) or layer.attention
        gated = getattr(layer, "mlp", None) or layer.feed_forward
        before = getattr(layer, "input_layernorm", None) or layer.attention_norm
        after = getattr(layer, "post_attention_layernorm", None) or layer.ffn_norm
        if self.grouped:
            qkv, out = [attention.wqkv], attention.wo
            gate_up, down = [gated.w1, gated.w3], gated.w2
        else:
            qkv, out = [attention.q_proj, attention.k_proj, attention.v_proj], attention.o_proj
            gate_up, down = [gated.gate_proj, gated.up_proj], gated.down_proj
        used = {id(weight) for part in (*qkv, out, *gate_up, down) for weight in _plain(part).parameters()}
        used |= {id(before.weight), id(after.weight)}
        others = [name for name, value in layer.named_parameters() if id(value) not in used]
        if others:
            raise ValueError(f"its blocks have {others[0]}")
        if not isinstance(gated.act_fn, nn.SiLU) or any(_eps(norm) != self.eps for norm in (before, after)):
            raise ValueError("its blocks are not alike or not gated by SiLU")
        if any(_plain(part).bias is not None for part in gate_up):
            raise ValueError("its gates have biases")
        stacked = (_stack(parts, names) for parts in (qkv, [out], gate_up, [down]))
        qkv, out, gate_up, down = stacked
        return Block(before.weight, qkv, out, after.weight, gate_up, down)


def products(block: Block) -> "tuple[Product, ...]":
    """Return the products of a block in their order."""
    return block.qkv, block.out, block.gate_up, block.down


def _plain(layer: Any) -> nn.Linear:
    """Return the linear layer itself, below its adapters. Raises ValueError for one of another kind."""
    layer = layer.base if isinstance(layer, RowLinear) else layer
    if type(layer) is not nn.Linear:
        raise ValueError(f"it has layers of the kind {type(layer).__name__}")
    if not layer.weight.is_contiguous():
        raise ValueError("its weights are stored in another order")
    return layer


def _eps(norm: Any) -> float:
    """Return the epsilon of a normalization by the root mean square. Raises ValueError for one of another kind."""
    if "RMSNorm" not in type(norm).__name__ or not hasattr(norm, "variance_epsilon"):
        raise ValueError(f"it has normalizations of the kind {type(norm).__name__}")
    return norm.variance_epsilon


def _stack(layers: "list[Any]", names: "dict[int, str]") -> Product:
    """Stack layers that multiply the same vector; their own weights become parts of the stack, so nothing is kept twice."""
    plain = [_plain(layer) for layer in layers]
    paths, sizes = tuple(names[id(layer)] for layer in layers), [len(layer.weight) for layer in plain]
    starts = tuple(sum(sizes[:n]) for n in range(len(sizes)))
    weight, bias = plain[0].weight, plain[0].bias
    if any((layer.bias is None) != (bias is None) for layer in plain):
        raise ValueError("some of its layers have biases")
    if len(plain) > 1:
        weight = torch.cat([layer.weight.data for layer in plain])
        bias = None if bias is None else torch.cat([layer.bias.data for layer in plain])
        for layer, start, size in zip(plain, starts, sizes, strict=True):
            layer.weight.data = weight[start : start + size]
    return Product(paths, weight, bias, starts)
