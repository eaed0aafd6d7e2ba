"""Greedy answers in one batch, several tokens a step where the next ones can be guessed; the answers are the same.

A guess comes from texts that are known, such as the answers that are trained on: where the last tokens of an answer
occur there too, what follows them is a draft. One forward pass reads the draft and tells which of its tokens the model
would have chosen itself; the first that differs is replaced, and the rest thrown away. For models whose code takes a
mask, positions and a cache, as Llama's does; `fits` tells. Part of the workers; knows nothing of training.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

# Tokens of a draft at first, at most, and after one that was wrong.
FIRST, MOST, LEAST = 8, 32, 3
# Known texts beyond this many tokens are left out.
MOST_KNOWN = 200_000
# How far back two places are compared to choose between drafts.
FAR = 48


class Drafts:
    """Known texts, searched for what may follow."""

    def __init__(self, texts: "Iterable[Sequence[int]]" = ()) -> None:
        self.tokens: list[int] = []
        self.places: dict[tuple[int, int], list[int]] = {}
        for text in texts:
            self.add(text)

    def add(self, text: "Sequence[int]") -> None:
        """Add a text, unless there are too many."""
        if len(self.tokens) + len(text) >= MOST_KNOWN:
            return
        # No draft goes from one text into the next.
        self.tokens.append(-1)
        for token in text:
            self.tokens.append(token)
            if self.tokens[-2] >= 0:
                self.places.setdefault((self.tokens[-2], token), []).append(len(self.tokens))

    def after(self, ids: "Sequence[int]", most: int) -> "list[int]":
        """Return at most `most` tokens that follow, where most of the last tokens are the same."""
        places = self.places.get(tuple(ids[-2:]), ()) if len(ids) > 1 else ()
        if not places:
            return []
        place = max(places, key=lambda place: self._alike(place, ids))
        found = self.tokens[place : place + most]
        return found[: found.index(-1)] if -1 in found else found

    def _alike(self, place: int, ids: "Sequence[int]") -> int:
        """Return how many tokens before a place equal the last of `ids`."""
        count = 2
        while count < min(len(ids), FAR) and self.tokens[place - count - 1] == ids[-count - 1]:
            count += 1
        return count


def fits(model: Any) -> bool:
    """Return whether a language model's code can be given a mask with gaps: not with flash attention, nor in old code."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    attention = getattr(model.config, "_attn_implementation", None)
    if decoder is None or not hasattr(decoder, "_update_causal_mask") or attention not in ("eager", "sdpa"):
        return False
    taken = inspect.signature(decoder.forward).parameters
    return {"attention_mask", "position_ids", "past_key_values", "cache_position"} <= set(taken)


def write(
    model: Any,
    prompts: "Sequence[list[int]]",
    drafts: Drafts,
    most: int,
    over: "Callable[[int, list[int]], bool]",
    check: "Callable[[], None]" = lambda: None,
) -> "list[list[int]]":
    """Return the greedy answer to each prompt: at most `most` tokens, ending where `over(row, answer)` says.

    `check` is called at each step and may raise. The caller sets precision and inference mode.
    """
    import torch
    from transformers import DynamicCache

    decoder, head = model.get_decoder(), model.get_output_embeddings()
    device = head.weight.device
    cache = DynamicCache()
    answers: list[list[int]] = [[] for _ in prompts]
    unread, known = [list(prompt) for prompt in prompts], [0] * len(prompts)
    sizes = [FIRST] * len(prompts)
    live = set(range(len(prompts)))
    mask = torch.zeros(len(prompts), 0, dtype=torch.long, device=device)
    while live:
        check()
        guesses = [
            drafts.after(prompts[row] + answers[row], min(sizes[row], most - len(answers[row]) - 1))
            if row in live
            else []
            for row in range(len(prompts))
        ]
        given = [unread[row] + guesses[row] if row in live else [] for row in range(len(prompts))]
        width, column = max(map(len, given)), mask.shape[1]
        ids = torch.tensor([one + [0] * (width - len(one)) for one in given], device=device)
        real = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in given], device=device)
        ahead = torch.arange(width, device=device)
        mask = torch.cat([mask, real], dim=1)
        hidden = decoder(
            input_ids=ids,
            attention_mask=mask,
            position_ids=torch.tensor(known, device=device)[:, None] + ahead,
            past_key_values=cache,
            cache_position=column + ahead,
            use_cache=True,
        )[0]
        rows = sorted(live)
        # Logits where a token is to be chosen alone: a vocabulary has a hundred thousand entries.
        wanted = [hidden[row, len(unread[row]) - 1 : len(given[row])] for row in rows]
        chosen = head(torch.cat(wanted)).argmax(-1).tolist()
        for row in rows:
            guess = guesses[row]
            best, chosen = chosen[: len(guess) + 1], chosen[len(guess) + 1 :]
            right = next((place for place, token in enumerate(guess) if token != best[place]), len(guess))
            mask[row, column + len(unread[row]) + right : column + len(given[row])] = 0
            known[row] += len(unread[row]) + right
            unread[row] = [best[right]]
            if guess:
                sizes[row] = min(MOST, 2 * sizes[row]) if right == len(guess) else LEAST if right == 0 else FIRST
            for token in best[: right + 1]:
                answers[row].append(token)
                if len(answers[row]) >= most or over(row, answers[row]):
                    live.discard(row)
                    break
    return answers
