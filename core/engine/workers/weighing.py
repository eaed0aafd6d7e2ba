"""Score a given answer under a model: which of its tokens the model would choose too, and how likely it finds them.

Part of the chat worker. One forward pass over prompt and answer, several rows per padded batch; generates nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from core.engine.workers.decoding import Decoder

# Padded tokens per batch, and positions whose logits are held at once: a vocabulary has a hundred thousand entries.
MOST_TOKENS = 2048
MOST_LOGITS = 256


@dataclass(frozen=True)
class Given:
    """A prompt and an answer in tokens, and the adapter to score them with (None: the base model)."""

    number: int
    prompt: "list[int]"
    answer: "list[int]"
    adapter: "str | None" = None


@dataclass(frozen=True)
class Weight:
    """The score of an answer: its tokens, how many are the model's first choice, and its log-probability."""

    number: int
    tokens: int
    agreed: int
    logprob: float


def weigh(decoder: Decoder, rows: "list[Given]") -> "Iterator[Weight]":
    """Yield the score of each answer, in any order: rows of similar length are batched together."""
    waiting = sorted(rows, key=lambda row: len(row.prompt) + len(row.answer), reverse=True)
    while waiting:
        longest = len(waiting[0].prompt) + len(waiting[0].answer)
        count = max(1, MOST_TOKENS // longest)
        # Rows of the same adapter must be adjacent.
        yield from _batch(decoder, sorted(waiting[:count], key=lambda row: row.adapter or ""))
        waiting = waiting[count:]


@torch.inference_mode()
def _batch(decoder: Decoder, rows: "list[Given]") -> "list[Weight]":
    model, longest = decoder.model, max(len(row.prompt) + len(row.answer) for row in rows)
    # Right-padded: causal attention ignores what follows an answer.
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        whole = [*row.prompt, *row.answer]
        ids[place, : len(whole)] = torch.tensor(whole)
        mask[place, : len(whole)] = 1
    decoder.adapters.layout.set([row.adapter for row in rows])
    inner = model.get_decoder() if hasattr(model, "get_decoder") else model.base_model
    hidden = inner(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False)[0]
    found = []
    for place, row in enumerate(rows):
        agreed, logprob = 0, 0.0
        for start in range(0, len(row.answer), MOST_LOGITS):
            part = torch.tensor(row.answer[start : start + MOST_LOGITS], device=model.device)
            # The position before predicts the token.
            first = len(row.prompt) + start - 1
            logits = decoder.head(hidden[place, first : first + len(part)]).float()
            agreed += int((logits.argmax(-1) == part).sum())
            logprob += float(torch.log_softmax(logits, -1).gather(-1, part[:, None]).sum())
        found.append(Weight(row.number, len(row.answer), agreed, logprob))
    return found
