"""Replaces a model's cache and rotary angles, so that rows differ in length and nothing synchronizes with the GPU.

Part of the chat worker: the keys and values of the batch, and the rotary angles. The steps are in `decoding`.
"""

from typing import Any

import torch
from transformers.cache_utils import Cache


class RowCache(Cache):
    """Keys and values of a batch, one tensor per layer, of fixed length; each row is written at its own position."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self.keys: dict[int, torch.Tensor] = {}
        self.values: dict[int, torch.Tensor] = {}
        # The position of each row's next token, (rows, 1, 1, 1); None while the prompts are read.
        self.place: torch.Tensor | None = None
        # How many positions to attend to: all in a graph, otherwise as many as are filled.
        self.seen = length

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, _: Any = None
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Store a layer's keys and values, (rows, heads, tokens, size); return those to attend to."""
        if layer not in self.keys:
            shape = (keys.shape[0], keys.shape[1], self.length, keys.shape[3])
            self.keys[layer], self.values[layer] = keys.new_zeros(shape), values.new_zeros(shape)
        if self.place is None:
            self.keys[layer][:, :, : keys.shape[2]] = keys
            self.values[layer][:, :, : keys.shape[2]] = values
            return keys, values
        place = self.place.expand(keys.shape)
        self.keys[layer].scatter_(2, place, keys)
        self.values[layer].scatter_(2, place, values)
        return self.keys[layer][:, :, : self.seen], self.values[layer][:, :, : self.seen]

    def get_seq_length(self, _: int = 0) -> int:
        """For models that get no positions; ours do."""
        return 0

    def get_max_cache_shape(self) -> int:
        """Return the capacity in tokens."""
        return self.length

    get_max_length = get_max_cache_shape


class Angles:
    """The rotary angles of all positions, looked up once per step for all layers."""

    def __init__(self, model: Any) -> None:
        """Replace the model's rotary modules. Raises ValueError if they differ from each other."""
        modules = [m for m in model.modules() if "RotaryEmbedding" in type(m).__name__]
        if not modules or any(not torch.equal(m.inv_freq, modules[0].inv_freq) for m in modules):
            raise ValueError("its rotary embeddings are not all alike")
        self.most = min(map(_positions, modules))
        self._compute = modules[0].forward
        self.table: tuple[torch.Tensor, torch.Tensor] | None = None
        # cos and sin of the current step; None when the model is run by other code.
        self.now: tuple[torch.Tensor, torch.Tensor] | None = None
        for module in modules:
            module.forward = self._of(module.forward)

    def _of(self, compute: Any) -> Any:
        def forward(x: torch.Tensor, *arguments: Any, **options: Any) -> Any:
            return self.now if self.now is not None else compute(x, *arguments, **options)

        return forward

    def fill(self, length: int, like: torch.Tensor) -> None:
        """Prepare the angles of `length` positions, in the device and dtype of `like`."""
        if self.table is None or self.table[0].shape[0] < length:
            cos, sin = self._compute(like, torch.arange(length, device=like.device)[None])
            self.table = cos[0].contiguous(), sin[0].contiguous()

    def look_up(self, positions: torch.Tensor) -> None:
        """Select the angles of `positions`, (rows, tokens)."""
        cos, sin = self.table
        self.now = cos[positions], sin[positions]


def room(model: Any) -> int:
    """Return up to which position a model's angles are independent of the length, by its config and rotary modules."""
    told = getattr(model.config, "max_position_embeddings", None) or 10**9
    return min([told, *(_positions(m) for m in model.modules() if "RotaryEmbedding" in type(m).__name__)])


def _positions(rotary: Any) -> int:
    """Return up to which position the angles are independent of the length; some are rescaled for longer texts."""
    config = getattr(rotary, "config", None)
    told = (
        getattr(rotary, "max_position_embeddings", None),
        getattr(rotary, "original_max_seq_len", None),
        getattr(config, "original_max_position_embeddings", None),
    )
    return min((count for count in told if count), default=10**9)
