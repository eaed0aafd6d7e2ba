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


class BaseStates:
    """The hidden states of rows that the base model has read, by their tokens; as many as fit into `most` bytes."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most, self.taken = most, 0
        self.of: dict[bytes, torch.Tensor] = {}
        # None: not tested yet.
        self.usable: bool | None = None

    def logits(self, llm: Any, given: "Mapping[str, Any]", *, anew: bool = False) -> torch.Tensor:
        """Return the predictions (rows, tokens, vocabulary) of a model whose adapter is disabled; needs no gradient.

        At padding they are arbitrary. `given` are the arguments of its forward pass; rows are recognized if they are
        padded on the right, with a mask. `anew`: with a forward pass even if all rows are known.
        """
        rows = self._rows(llm, given) if self.usable is not False else None
        if rows is None:
            return llm(**given).logits
        head = llm.get_output_embeddings()
        found = [self.of.get(key) for key, _ in rows]
        if not anew and all(state is not None for state in found):
            device, longest = given["input_ids"].device, given["input_ids"].shape[1]
            hidden = torch.zeros(len(rows), longest, found[0].shape[-1], dtype=found[0].dtype, device=device)
            for row, state in zip(hidden, found, strict=True):
                row[: len(state)] = state.to(device)
            return head(hidden)
        heard: list[torch.Tensor] = []
        hook = head.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
        try:
            logits = llm(**given).logits
        finally:
            hook.remove()
        if self.usable is None:
            # Without hooks: whoever listens to the layers hears each of them once.
            self.usable = len(heard) == 1 and alike(head.forward(heard[0][:, :TESTED]), logits[:, :TESTED])
        if self.usable:
            self._keep(rows, heard[0])
        return logits

    def _rows(self, llm: Any, given: "Mapping[str, Any]") -> "list[tuple[bytes, int]] | None":
        """Return the tokens of each row, as bytes, and their number; None if rows cannot be told apart.

        Under ZeRO-3 all processes compute together, and each would know other rows.
        """
        ids, mask = given.get("input_ids"), given.get("attention_mask")
        if ids is None or mask is None or any(hasattr(weight, "ds_id") for weight in llm.parameters()):
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
