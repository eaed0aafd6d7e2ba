"""Many texts in one row of a forward pass, each of which sees itself alone; their common beginning is read once.

On a CPU a pass costs what its tokens cost, and a padded batch is mostly padding as soon as its rows end or are drafted
for differently. Here nothing is padded: a mask tells which tokens belong together. For models whose code takes such a
mask, positions and a cache, as Llama's does; `fits` tells. Part of the workers; writes no answers.
"""

import contextlib
import inspect
import os.path
from collections.abc import Iterator, Sequence
from typing import Any

from core.engine.workers.few_tokens import FEW, one_thread, small

# Tokens read together where no answer is waited for: each looks at all others' places, if only to be told not to.
AT_ONCE_ON_CPU, AT_ONCE_ON_GPU = 384, 2048
# More than half precision's rounding, less than other tokens make of a text.
DIFFERENT = 0.1


def fits(model: Any) -> bool:
    """Return whether a language model's code reads texts in one row as it reads them alone; reads a few tokens.

    Not with flash attention, nor in old code, nor with positions taken from the mask. The caller sets precision and
    inference mode.
    """
    import torch

    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    attention = getattr(model.config, "_attn_implementation", None)
    if decoder is None or not hasattr(decoder, "_update_causal_mask") or attention not in ("eager", "sdpa"):
        return False
    taken = inspect.signature(decoder.forward).parameters
    if not {"attention_mask", "position_ids", "past_key_values", "cache_position"} <= set(taken):
        return False
    # A text with another in between.
    try:
        packed = Packed(model, 2)
        packed.read({0: [4, 5], 1: [1, 2, 3] * 4})
        beside = packed.read({0: [6]})[0].float()
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
        return False
    alone = decoder(input_ids=torch.tensor([[4, 5, 6]], device=beside.device), use_cache=False)[0][0, -1:].float()
    return bool((beside - alone).norm() < DIFFERENT * alone.norm())


class Packed:
    """Texts that grow; `shared` are the tokens that all of them begin with."""

    def __init__(self, model: Any, texts: int, shared: "Sequence[int]" = ()) -> None:
        import torch
        from transformers import DynamicCache

        self.decoder, self.cache = model.get_decoder(), DynamicCache()
        weight = model.get_input_embeddings().weight
        self.device, self.dtype, self.small = weight.device, weight.dtype, small(self.decoder)
        self.unread = list(shared)
        self.length = [len(shared)] * texts
        # Which tokens of the row each text consists of.
        self.own = torch.zeros(texts, 0, dtype=torch.bool, device=self.device)
        self.ends = [0] * texts

    def read(self, given: "dict[int, list[int]]") -> "dict[int, Any]":
        """Read the next tokens of some texts; return their hidden states by text, each of shape (tokens, size)."""
        few = len(self.unread) + sum(map(len, given.values())) <= FEW
        with one_thread() if self.small and few else contextlib.nullcontext():
            return self._read(given)

    def _read(self, given: "dict[int, list[int]]") -> "dict[int, Any]":
        import torch

        before, first = self.own.shape[1], len(self.unread)
        tokens, owners, positions = self.unread, [-1] * first, list(range(first))
        self.unread = []
        for text, ids in given.items():
            tokens = tokens + ids
            owners += [text] * len(ids)
            positions += range(self.length[text], self.length[text] + len(ids))
            self.length[text] += len(ids)
            self.ends[text] = before + len(tokens)
        owner = torch.tensor(owners, device=self.device)
        shared = owner == -1
        together = ((owner[:, None] == owner) | shared).tril()
        mask = _additive(torch.cat([self.own[owner], together], dim=1), self.dtype)
        hidden = self.decoder(
            input_ids=torch.tensor([tokens], device=self.device),
            attention_mask=mask,
            position_ids=torch.tensor([positions], device=self.device),
            past_key_values=self.cache,
            cache_position=torch.arange(before, before + len(tokens), device=self.device),
            use_cache=True,
        )[0][0]
        all_texts = torch.arange(len(self.own), device=self.device)
        self.own = torch.cat([self.own, (all_texts[:, None] == owner) | shared], dim=1)
        return {
            text: hidden[self.ends[text] - before - len(ids) : self.ends[text] - before] for text, ids in given.items()
        }

    def forget(self, text: int, count: int) -> None:
        """Take back the last `count` tokens read of a text."""
        self.own[text, self.ends[text] - count : self.ends[text]] = False
        self.length[text] -= count


def chosen(model: Any, prompts: "Sequence[list[int]]", answers: "Sequence[list[int]]") -> "list[list[int]]":
    """Return the token that the model would choose at each place of the given answers, given the tokens before."""
    import torch

    found: list[list[int]] = [[] for _ in prompts]
    head = model.get_output_embeddings()
    sizes = [len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
    most = AT_ONCE_ON_CPU if head.weight.device.type == "cpu" else AT_ONCE_ON_GPU
    for rows in portions(sizes, most):
        shared = common([prompts[row] for row in rows])
        packed = Packed(model, len(prompts), shared)
        hidden = packed.read({row: prompts[row][len(shared) :] + answers[row] for row in rows})
        # Logits for the answers alone: a vocabulary has a hundred thousand entries.
        wanted = [hidden[row][-len(answers[row]) - 1 : -1] for row in rows]
        best = likeliest(head(torch.cat(wanted)))
        for row in rows:
            found[row], best = best[: len(answers[row])], best[len(answers[row]) :]
    return found


def likeliest(logits: Any) -> "list[int]":
    """Return the most likely token of each row; on a CPU `max` is several times as fast as `argmax`."""
    return logits.max(-1).indices.tolist()


def common(prompts: "Sequence[list[int]]") -> "list[int]":
    """Return the tokens that all prompts begin with, leaving each at least one of its own."""
    return os.path.commonprefix([prompt[:-1] for prompt in prompts])


def portions(sizes: "Sequence[int]", most: int) -> "Iterator[list[int]]":
    """Yield the numbers of things of these sizes, in portions of at most `most` in all, or a single one."""
    portion: list[int] = []
    taken = 0
    for number, size in enumerate(sizes):
        if portion and taken + size > most:
            yield portion
            portion, taken = [], 0
        portion.append(number)
        taken += size
    if portion:
        yield portion


def _additive(seen: Any, dtype: Any) -> Any:
    """Return the mask that is added to attention scores, from what each token (row) sees."""
    import torch

    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)[
        None, None
    ]
