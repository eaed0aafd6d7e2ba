"""The base model's predictions for rows of the data, computed once however often a row is trained on.

Part of `entry`, in the engine's interpreter; belongs to the loss in `keeping`, which compares each row with them in each
epoch. What is kept of a row is what the last layer reads, hidden states: a vocabulary is dozens of times as wide. The
base model does not change while its adapter is trained. Does not know what the predictions are for.
"""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch

# In memory, not on the GPU.
MOST_BYTES = 1 << 29
# Relative to their spread: of half precision, in which the same product rounds differently with other rows beside it.
ROUNDING = 0.05
# Positions in which it is tested once whether the last layer alone makes the predictions.
TESTED = 8
# Positions whose predictions are made at a time where only the most likely tokens are wanted: 300 MB of a vocabulary
# of 150,000.
PIECE = 1024


class BaseStates:
    """The hidden states of rows that the base model has read, by their tokens; as many as fit into `most` bytes."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most, self.taken = most, 0
        self.of: dict[bytes, torch.Tensor] = {}
        # None: not tested yet.
        self.usable: bool | None = None

    def logits(self, llm: Any, given: "Mapping[str, Any]") -> torch.Tensor:
        """Return the predictions (rows, tokens, vocabulary) of a model whose adapter is disabled; needs no gradient.

        At padding they are arbitrary. `given` are the arguments of its forward pass; rows are recognized if they are
        padded on the right, with a mask.
        """
        rows = self._rows(llm, given) if self.usable is not False else None
        if rows is None:
            return llm(**given).logits
        head = llm.get_output_embeddings()
        found = [self.of.get(key) for key, _ in rows]
        if all(state is not None for state in found):
            device, longest = given["input_ids"].device, given["input_ids"].shape[1]
            hidden = torch.zeros(len(rows), longest, found[0].shape[-1], dtype=found[0].dtype, device=device)
            for row, state in zip(hidden, found, strict=True):
                row[: len(state)] = state.to(device)
            return head(hidden)
        logits, hidden = self._pass(llm, given)
        if self.usable:
            self._keep(rows, hidden)
        return logits

    def choices(self, llm: Any, given: "Mapping[str, Any]", places: torch.Tensor) -> torch.Tensor:
        """Return the most likely tokens, to such a model, after those at `places`, a mask (rows, tokens).

        Of the same shape, and arbitrary elsewhere: the last layer, a fifth of a small model, reads only what is asked
        for. Always with a forward pass through all others, or with two if it turns out that the first was of no use.
        """
        rows = self._rows(llm, given) if self.usable is not False else None
        if rows is not None:
            _, hidden = self._pass(llm, given, few=True)
            if self.usable:
                self._keep(rows, hidden)
                chosen = torch.zeros_like(given["input_ids"])
                head = llm.get_output_embeddings().forward
                # On a CPU `max` is several times as fast as `argmax`.
                chosen[places] = torch.cat([head(some).max(-1).indices for some in hidden[places].split(PIECE)])
                return chosen
        return llm(**given).logits.max(-1).indices

    def _pass(self, llm: Any, given: "Mapping[str, Any]", *, few: bool = False) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return the predictions, and what the last layer read. With `few`, predictions for the first tokens only."""
        heard: list[torch.Tensor] = []

        def listen(_: Any, inputs: "tuple[Any, ...]") -> "tuple[Any, ...]":
            heard.append(inputs[0])
            return (first(inputs[0]), *inputs[1:]) if few else inputs

        head = llm.get_output_embeddings()
        hook = head.register_forward_pre_hook(listen)
        try:
            logits = llm(**given).logits
        finally:
            hook.remove()
        if self.usable is None:
            # Without hooks: whoever listens to the layers hears each of them once.
            self.usable = len(heard) == 1 and alike(head.forward(first(heard[0])), first(logits))
        return logits, heard[0]

    def _rows(self, llm: Any, given: "Mapping[str, Any]") -> "list[tuple[bytes, int]] | None":
        """Return the tokens of each row, as bytes, and their number; None if rows cannot be told apart.

        Under ZeRO-3 all processes compute together, and each would know other rows.
        """
        ids, mask = given.get("input_ids"), given.get("attention_mask")
        if ids is None or mask is None or divided(llm):
            return None
        lengths = mask.sum(1)
        if not bool((mask.bool() == (torch.arange(mask.shape[1], device=mask.device) < lengths[:, None])).all()):
            return None
        return [
            (row[:length].numpy().tobytes(), length) for row, length in zip(ids.cpu(), lengths.tolist(), strict=True)
        ]

    def _keep(self, rows: "list[tuple[bytes, int]]", hidden: torch.Tensor) -> None:
        for (key, length), states in zip(rows, hidden, strict=True):
            needed = length * states[0].nbytes
            if key not in self.of and self.taken + needed <= self.most:
                # A copy: a part of the batch would hold all of it.
                self.of[key] = states[:length].detach().to("cpu", copy=True)
                self.taken += needed


def first(states: torch.Tensor) -> torch.Tensor:
    """Return those of a few tokens of the first row, laid out as if there were no others.

    Otherwise torch copies the weights of the layer that reads them, once for each row: seconds, and gigabytes.
    """
    return states[0, :TESTED].unsqueeze(0)


def divided(llm: Any) -> bool:
    """Return whether this process holds only a part of each weight, as under ZeRO-3."""
    return any(hasattr(weight, "ds_id") for weight in llm.parameters())


def alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether predictions are the same up to rounding: some models scale or cap them after the last layer."""
    if one.shape != other.shape:
        return False
    return bool((one.float() - other.float()).abs().max() <= ROUNDING * other.float().std())


# Those of each model in this process: what was looked at to aim the adapter need not be computed again.
_OF: "WeakKeyDictionary[Any, BaseStates]" = WeakKeyDictionary()


def base_states(llm: Any) -> BaseStates:
    """Return those of a model."""
    return _OF.setdefault(llm, BaseStates())
