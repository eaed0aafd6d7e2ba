"""Generate tokens in a padded batch with the model's plain forward pass, for models that `decoding` does not support.

Part of the chat worker. Shorter prompts are left-padded, and the model keeps its own cache, of whatever kind: tuples in
old code, an object in new. So no part of the model is replaced, and nothing is captured as a graph. It is slower than
`decoding` on a GPU and many times faster than row by row. Whether a model supports padding is tested once at load time:
if its logits differ from those of a single row, this method is not used.
"""

import random
from collections.abc import Iterator
from typing import Any

import torch

from core.engine.workers.decoding import PROBE, Decoder, Draw, Row, compare, sampled
from core.engine.workers.row_cache import room


class Padded:
    """A batch run by the model itself: the prompts, then one token per row at a time."""

    def __init__(self, decoder: Decoder, adapters: "list[str | None]") -> None:
        """Equal adapters must be adjacent."""
        self.decoder, self.adapters = decoder, adapters
        self.mask = self.positions = torch.zeros(0)
        self.past: Any = None

    def read(self, rows: "list[list[int]]") -> torch.Tensor:
        """Run the prompts; return the logits of the first answer token, (rows, vocabulary)."""
        model, longest = self.decoder.model, max(map(len, rows))
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=model.device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        self.past = None
        if longest > 1:
            # Skip the logits of all but the last token: a vocabulary has a hundred thousand entries.
            inner = model.get_decoder() if hasattr(model, "get_decoder") else model.base_model
            self._run(inner, ids[:, :-1], mask[:, :-1], positions[:, :-1])
        return self._run(model, ids[:, -1:], mask, positions[:, -1:]).logits[:, -1].float()

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Run one token per row, (rows, 1); return the logits of the next."""
        mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=-1)
        return self._run(self.decoder.model, tokens, mask, self.positions[:, -1:] + 1).logits[:, -1].float()

    def _run(self, module: Any, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> Any:
        self.mask, self.positions = mask, positions
        self.decoder.adapters.layout.set(self.adapters)
        # Cloned: old code depends on the memory layout, and some of it writes into its inputs.
        out = module(
            input_ids=ids.clone(memory_format=torch.contiguous_format),
            attention_mask=mask.clone(memory_format=torch.contiguous_format),
            position_ids=positions.clone(memory_format=torch.contiguous_format),
            past_key_values=self.past,
            use_cache=True,
            return_dict=True,
        )
        self.past = out.past_key_values
        return out


@torch.inference_mode()
def bears(decoder: Decoder) -> str:
    """Return why the model's answers would differ in a padded batch; "" if they are the same."""
    try:
        plain = decoder.plain_logits()
        # Rows of different lengths, to test mask, positions and cache.
        rows = [PROBE[:-2], PROBE[:-4]]
        batch = Padded(decoder, [None, None])
        batch.read(rows)
        for step in range(4):
            at = [len(row) + step for row in rows]
            tokens = [[PROBE[place] if place < len(PROBE) else 0] for place in at]
            logits = batch.step(torch.tensor(tokens, device=decoder.model.device))
            for row, place in enumerate(at):
                if place == len(PROBE) - 1:
                    compare(logits[row], plain, decoder.dtype)
    except Exception as error:
        # Whatever the model's own code raises for a batch of this kind.
        return f"{type(error).__name__}: {error}"
    return ""


def fits(decoder: Decoder, length: int) -> bool:
    """Return whether `length` tokens have the same rotary angles alone and next to longer rows."""
    return length <= room(decoder.model)


@torch.inference_mode()
def padded(decoder: Decoder, rows: "list[Row]", most: int, draw: Draw) -> "Iterator[list[int]]":
    """Generate as `Decoder.write` does."""
    order = sorted(range(len(rows)), key=lambda n: rows[n].adapter or "")
    back = [order.index(n) for n in range(len(rows))]
    batch, chance = Padded(decoder, [rows[n].adapter for n in order]), random.Random(draw.seed)
    logits = batch.read([rows[n].ids for n in order])
    for step in range(most):
        at = chance.random()
        tokens = sampled(logits, draw, at) if draw.temperature > 0 else logits.argmax(-1, keepdim=True)
        told = tokens[:, 0].tolist()
        yield [told[place] for place in back]
        if step + 1 < most:
            logits = batch.step(tokens)
