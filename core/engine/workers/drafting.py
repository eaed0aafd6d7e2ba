"""Greedy answers in one batch, several tokens a step where the next ones can be guessed; the answers are the same.

A guess comes from texts that are known, such as the answers that are trained on: where the last tokens of an answer
occur there too, what follows them is a draft. One forward pass reads the draft and tells which of its tokens the model
would have chosen itself; the first that differs is replaced, and the rest thrown away. A pass has a fixed price and
one by the token, so long drafts are read only where the last ones were right, or where a pass has room. For models that
`packed` fits. Part of the workers; knows nothing of training.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from core.engine.workers.packed import Packed, common, likeliest, portions

# Tokens of a draft where the same prompt was answered before, and at most.
FIRST, MOST = 8, 32
# Tokens of a pass that cost hardly more than one: reading the weights takes as long.
ROOM_ON_CPU, ROOM_ON_GPU = 16, 256
# Prompts and answers that are written together.
MOST_TOGETHER = 2048
# Known texts beyond this many tokens are left out; those given at first take half of them.
MOST_KNOWN = 200_000
# How far back two places are compared to choose between drafts.
FAR = 48


class Drafts:
    """Known texts, searched for what may follow."""

    def __init__(self, texts: "Iterable[Sequence[int]]" = ()) -> None:
        self.tokens: list[int] = []
        self.places: dict[tuple[int, int], list[int]] = {}
        for text in texts:
            if len(self.tokens) + len(text) < MOST_KNOWN // 2:
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
        """Return at most `most` tokens that follow, where most of the last tokens are the same; of several, the newest."""
        place = self._place(ids)
        found = self.tokens[place : place + most] if place else []
        return found[: found.index(-1)] if -1 in found else found

    def has(self, ids: "Sequence[int]") -> bool:
        """Return whether a text has all of these tokens, or the last of them if there are many."""
        place = self._place(ids)
        return bool(place) and self._alike(place, ids) >= min(len(ids), FAR)

    def _place(self, ids: "Sequence[int]") -> int:
        places = self.places.get(tuple(ids[-2:]), ()) if len(ids) > 1 else ()
        return max(places, key=lambda place: (self._alike(place, ids), place), default=0)

    def _alike(self, place: int, ids: "Sequence[int]") -> int:
        """Return how many tokens before a place equal the last of `ids`."""
        count = 2
        while count < min(len(ids), FAR) and self.tokens[place - count - 1] == ids[-count - 1]:
            count += 1
        return count


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
    answers: list[list[int]] = [[] for _ in prompts]
    for rows in portions([len(prompt) + most for prompt in prompts], MOST_TOGETHER):
        _write(model, {row: prompts[row] for row in rows}, answers, drafts, most, over, check)
    return answers


def _write(
    model: Any,
    prompts: "dict[int, list[int]]",
    answers: "list[list[int]]",
    drafts: Drafts,
    most: int,
    over: "Callable[[int, list[int]], bool]",
    check: "Callable[[], None]",
) -> None:
    """Write the answers to these prompts into `answers`."""
    import torch

    head = model.get_output_embeddings()
    room_of_all = ROOM_ON_CPU if head.weight.device.type == "cpu" else ROOM_ON_GPU
    shared = common(list(prompts.values()))
    packed = Packed(model, len(answers), shared)
    unread = {row: prompt[len(shared) :] for row, prompt in prompts.items()}
    trusted = {row: FIRST if drafts.has(prompt) else 0 for row, prompt in prompts.items()}
    while unread:
        check()
        room = (room_of_all - sum(map(len, unread.values()))) // len(unread)
        foreseen, given = {}, {}
        for row, ids in unread.items():
            left = most - len(answers[row]) - 1
            foreseen[row] = drafts.after(prompts[row] + answers[row], min(MOST, left)) if left else []
            given[row] = ids + foreseen[row][: max(room, trusted[row], 0)]
        hidden = packed.read(given)
        # Logits where a token is to be chosen alone: a vocabulary has a hundred thousand entries.
        wanted = torch.cat([hidden[row][len(ids) - 1 :] for row, ids in unread.items()])
        chosen = likeliest(head(wanted))
        for row, ids in list(unread.items()):
            guess = given[row][len(ids) :]
            best, chosen = chosen[: len(guess) + 1], chosen[len(guess) + 1 :]
            right = next((place for place, token in enumerate(guess) if token != best[place]), len(guess))
            packed.forget(row, len(guess) - right)
            unread[row] = [best[right]]
            # What was foreseen beyond the guess costs nothing to compare.
            hit = foreseen[row][right : right + 1] == [best[right]]
            trusted[row] = min(MOST, 2 * (right + 1)) if hit else right // 2
            for token in best[: right + 1]:
                answers[row].append(token)
                if len(answers[row]) >= most or over(row, answers[row]):
                    del unread[row]
                    break
