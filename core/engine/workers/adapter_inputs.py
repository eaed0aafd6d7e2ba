"""Where a LoRA adapter looks: at the inputs in which the rows to be taught differ from those to be kept.

Part of `entry`, in the engine's interpreter; belongs to the loss in `keeping`. A LoRA layer adds B·A·x to the output of
a linear layer. A is random by default: it sees best what all inputs have in common, so whatever B learns changes every
answer. Here the rows of A begin as the directions a with the largest ratio of aᵀTa to aᵀKa, T and K being the second
moments of the layer's inputs over the tokens to be taught and to be kept (the leading generalized eigenvectors). Then
both are trained. That an adapter can be aimed by second moments is CorDA's idea (arXiv 2406.05223), with other
directions; docs/recipes.md has what these ones were worth.

An answer that the base model would give itself is to be kept, with its question. Of any other, the adapter has to
recognize the question and the beginning of the answer. For which runs it is done is in `aiming`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from core.engine.workers import phases
from core.engine.workers.base_states import base_states, divided
from core.engine.workers.directions import directions
from core.engine.workers.packed import portions

IGNORED = -100
# An answer is the base model's own if this share of its tokens are the base model's first choice.
OWN = 0.9
# Tokens of an answer that count as its beginning.
FIRST = 3
# Tokens to be kept that are looked at, with those to be taught on the way; how many at a time, and of a row.
TOKENS = {"cpu": 3072, "cuda": 32768}
AT_ONCE = {"cpu": 1024, "cuda": 4096}
LONGEST = 1024
# Tokens that show which layers share their input.
FEW = 8
# Rows that are read ahead.
AHEAD = 64
# Bytes for second moments; layers that do not fit are measured in further passes.
ROOM = 1 << 30
# A direction with a smaller share of the largest response to what is taught is rounding.
HEARD = 1e-4
# Mean square of what an aimed row hears of what is taught, in those of a random one (docs/recipes.md).
LOUD = 4.0
# Of a divisor.
LEAST = torch.finfo(torch.float32).tiny


@dataclass(slots=True)
class Batch:
    """Padded rows, and which of their tokens are to be taught and to be kept; each of shape (rows, tokens)."""

    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    taught: Any = None
    kept: Any = None

    def before_answers(self) -> torch.Tensor:
        """Return which tokens are followed by one of an answer: (rows, tokens)."""
        before = torch.zeros_like(self.labels, dtype=torch.bool)
        before[:, :-1] = self.labels[:, 1:] != IGNORED
        return before

    def divide(self, said: torch.Tensor) -> None:
        """Tell what is to be kept by the base model's first choices after each token before an answer's."""
        own = torch.zeros_like(self.labels, dtype=torch.bool)
        own[:, 1:] = said[:, :-1] == self.labels[:, 1:]
        self.taught, self.kept = torch.zeros_like(own), torch.zeros_like(own)
        for row, (asked, start, end) in answers(self.labels, self.mask):
            if own[row, start:end].float().mean() >= OWN:
                self.kept[row, asked:end] = True
            else:
                self.taught[row, asked : min(start + FIRST, end)] = True


def look_apart(llm: Any, rows: "Sequence[dict[str, Any]]") -> "tuple[int, int] | None":
    """Choose A for all LoRA layers of `llm`, a PEFT model whose B is still zero.

    `rows` are the training data, dicts with `input_ids` and `labels`. Returns how many tokens to be taught and to be
    kept were found; None if one kind is missing and nothing was changed.
    """
    was = llm.training
    llm.eval()
    try:
        with torch.no_grad(), llm.disable_adapter():
            batches: Iterable[Batch] = padded(llm, rows)
            groups = sharing(llm, rows[0]["input_ids"][:FEW])
            sizes = [2 * 4 * same[0].in_features ** 2 for same in groups]
            for numbers in portions(sizes, ROOM):
                layers = [groups[number] for number in numbers]
                with phases.spending("aim: read"):
                    sums, batches = moments(llm, batches, layers)
                    taught, kept = (
                        int(sum(getattr(batch, kind).sum() for batch in batches)) for kind in ("taught", "kept")
                    )
                if not taught or not kept:
                    return None
                with phases.spending("aim: solve"):
                    for some in alike(layers):
                        aim(
                            [layers[number] for number in some],
                            torch.stack([sums[number][0] for number in some]) / taught,
                            torch.stack([sums[number][1] for number in some]) / kept,
                        )
    finally:
        llm.train(was)
    return taught, kept


def lora_layers(llm: Any) -> "list[Any]":
    """Return the linear layers with an adapter; an embedding has another kind."""
    return [module for module in llm.modules() if "default" in getattr(module, "lora_A", {})]


def untrained(llm: Any) -> bool:
    """Return whether the adapter is seen to change nothing yet: under ZeRO-3 no process holds all of a weight."""
    return not divided(llm) and not any(layer.lora_B["default"].weight.any() for layer in lora_layers(llm))


def padded(llm: Any, rows: "Sequence[dict[str, Any]]") -> "Iterator[Batch]":
    """Yield the rows, from everywhere in the data: usually they are in order of their kind.

    Those of similar length are together, among as many as are read ahead.
    """
    device = llm.get_input_embeddings().weight.device
    most = AT_ONCE[_kind(device)]

    def batch(some: "list[list[list[int]]]") -> Batch:
        longest = max(len(ids) for ids, _ in some)
        columns = (
            ([ids for ids, _ in some], 0),
            ([[1] * len(ids) for ids, _ in some], 0),
            ([of for _, of in some], IGNORED),
        )
        return Batch(
            *(
                torch.tensor([row + [filler] * (longest - len(row)) for row in column], device=device)
                for column, filler in columns
            )
        )

    chance = torch.Generator().manual_seed(0)
    places = torch.randperm(len(rows), generator=chance).tolist()
    for ahead in range(0, len(places), AHEAD):
        read = [rows[place] for place in places[ahead : ahead + AHEAD]]
        read = sorted(([list(row[key][:LONGEST]) for key in ("input_ids", "labels")] for row in read), key=_length)
        together: list[list[list[list[int]]]] = [[]]
        for row in read:
            if together[-1] and (len(together[-1]) + 1) * _length(row) > most:
                together.append([])
            together[-1].append(row)
        for number in torch.randperm(len(together), generator=chance).tolist():
            yield batch(together[number])


def _kind(device: torch.device) -> str:
    return "cuda" if device.type == "cuda" else "cpu"


def _length(row: "list[list[int]]") -> int:
    return len(row[0])


def answers(labels: torch.Tensor, mask: torch.Tensor) -> "Iterator[tuple[int, tuple[int, int, int]]]":
    """Yield each row with its answers: where the question begins, and where the answer begins and ends."""
    for row, (told, real) in enumerate(zip((labels != IGNORED).tolist(), mask.sum(1).tolist(), strict=True)):
        asked = place = 0
        while place < real:
            if not told[place]:
                place += 1
                continue
            start = place
            while place < real and told[place]:
                place += 1
            yield row, (asked, start, place)
            asked = place


def sharing(llm: Any, row: "list[int]") -> "list[list[Any]]":
    """Return the LoRA layers, those with the same input together.

    Without those that do not see every token, as a mixture's experts do.
    """
    ids = torch.tensor([row], device=llm.get_input_embeddings().weight.device)
    found: list[tuple[Any, list[Any]]] = []

    def note(layer: Any, inputs: "tuple[Any, ...]") -> None:
        if inputs[0].shape[:2] != ids.shape:
            return
        if found and found[-1][0] is inputs[0]:
            found[-1][1].append(layer)
        else:
            found.append((inputs[0], [layer]))

    with hooked(lora_layers(llm), note):
        llm(input_ids=ids)
    return [layers for _, layers in found]


@contextmanager
def hooked(layers: "list[Any]", note: Any) -> "Iterator[None]":
    """Call `note` with each of the layers and its inputs."""
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def moments(
    llm: Any, batches: "Iterable[Batch]", layers: "list[list[Any]]"
) -> "tuple[list[tuple[torch.Tensor, torch.Tensor]], list[Batch]]":
    """Return the sums of x·xᵀ over the tokens to be taught and to be kept, for each group of layers, and the batches.

    Ends when there are enough of the latter.
    """
    device = llm.get_input_embeddings().weight.device
    most = TOKENS[_kind(device)]
    sums = [tuple(torch.zeros(2, same[0].in_features, same[0].in_features, device=device)) for same in layers]
    heard: list[torch.Tensor] = []
    seen: list[Batch] = []
    found = 0
    with hooked([same[0] for same in layers], lambda _, inputs: heard.append(inputs[0])):
        for batch in batches:
            heard.clear()
            given = {"input_ids": batch.ids, "attention_mask": batch.mask}
            said = base_states(llm).choices(llm, given, batch.before_answers())
            if batch.kept is None:
                batch.divide(said)
            places = [which.flatten().nonzero()[:, 0] for which in (batch.taught, batch.kept)]
            for x, pair in zip(heard[-len(sums) :], sums, strict=True):
                for total, chosen in zip(pair, places, strict=True):
                    inputs = x.flatten(0, 1)[chosen].float()
                    total.addmm_(inputs.T, inputs)
            seen.append(batch)
            found += len(places[1])
            if found >= most:
                break
    return sums, seen


def alike(layers: "list[list[Any]]") -> "Iterator[list[int]]":
    """Yield the numbers of groups of layers with inputs of one size, as many as may be computed together."""
    sizes = [same[0].in_features for same in layers]
    for size in sorted(set(sizes)):
        numbers = [number for number, one in enumerate(sizes) if one == size]
        for some in portions([4 * size**2] * len(numbers), ROOM // 16):
            yield [numbers[place] for place in some]


def aim(layers: "list[list[Any]]", taught: torch.Tensor, kept: torch.Tensor) -> None:
    """Set A of groups of layers to the directions for their second moments: the better one tells them apart, the longer.

    `taught` and `kept` have the shape (groups, inputs, inputs).
    """
    weights = [[layer.lora_A["default"].weight for layer in same] for same in layers]
    found = directions(taught, kept, max(len(weight) for same in weights for weight in same))
    for same, rows, moment, other in zip(weights, found, taught, kept, strict=True):
        responses = _responses(rows, moment)
        # There are no more directions than different inputs to be taught: the other rows stay random.
        good = responses > HEARD * responses.max()
        ratio = torch.where(good, responses / _responses(rows, other).clamp(min=LEAST), 0.0)
        for weight in same:
            count, usual = len(weight), _responses(weight.float(), moment).mean()
            share = ratio[:count] / ratio[:count].sum() * good[:count].sum()
            length = (LOUD * usual * share / responses[:count].clamp(min=LEAST)).sqrt()
            weight.copy_(torch.where(good[:count, None], rows[:count] * length[:, None], weight))


def _responses(rows: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """Return the mean square of each row's product with the inputs."""
    return ((rows @ moment) * rows).sum(-1)
