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

from core.engine.workers.base_states import base_states
from core.engine.workers.packed import portions

IGNORED = -100
# An answer is the base model's own if this share of its tokens are the base model's first choice.
OWN = 0.9
# Tokens of an answer that count as its beginning.
FIRST = 3
# Tokens to be kept that are looked at, with those to be taught on the way; how many at a time, and of a row.
TOKENS = {"cpu": 3072, "cuda": 32768}
AT_ONCE = LONGEST = 1024
# Bytes for second moments; layers that do not fit are measured in further passes.
ROOM = 1 << 30
# Added to K, as a share of its median diagonal entry, and at least of the mean: what is not in these tokens may be in
# others.
RIDGE, LEAST_RIDGE = 0.1, 1e-4
# Of single precision, with sums over thousands of tokens.
ROUNDING = 1e-6
# A direction with a smaller share of the largest response to what is taught is rounding.
HEARD = 1e-4
# Of the subspace iteration: steps, and directions beyond those wanted.
STEPS, SPARE = 12, 8


@dataclass(slots=True)
class Batch:
    """Padded rows, and which of their tokens are to be taught and to be kept; each of shape (rows, tokens)."""

    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    taught: Any = None
    kept: Any = None

    def divide(self, said: torch.Tensor) -> None:
        """Tell what is to be kept by what the base model said: its first choices, (rows, tokens)."""
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
            groups = sharing(llm, rows[0]["input_ids"][:LONGEST])
            sizes = [2 * 4 * same[0].in_features ** 2 for same in groups]
            for numbers in portions(sizes, ROOM):
                layers = [groups[number] for number in numbers]
                sums, batches = moments(llm, batches, layers)
                taught, kept = (
                    int(sum(getattr(batch, kind).sum() for batch in batches)) for kind in ("taught", "kept")
                )
                if not taught or not kept:
                    return None
                for same, (theirs, others) in zip(layers, sums, strict=True):
                    aim(same, theirs / taught, others / kept)
    finally:
        llm.train(was)
    return taught, kept


def lora_layers(llm: Any) -> "list[Any]":
    """Return the linear layers with an adapter; an embedding has another kind."""
    return [module for module in llm.modules() if "default" in getattr(module, "lora_A", {})]


def untrained(llm: Any) -> bool:
    """Return whether the adapter is seen to change nothing yet: under ZeRO-3 no process holds all of a weight."""
    whole = not any(hasattr(weight, "ds_id") for weight in llm.parameters())
    return whole and not any(layer.lora_B["default"].weight.any() for layer in lora_layers(llm))


def padded(llm: Any, rows: "Sequence[dict[str, Any]]") -> "Iterator[Batch]":
    """Yield the rows, from everywhere in the data: usually they are in order of their kind."""
    device = llm.get_input_embeddings().weight.device
    some: list[tuple[list[int], list[int]]] = []

    def batch() -> Batch:
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

    for place in torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist():
        row = tuple(list(rows[place][key][:LONGEST]) for key in ("input_ids", "labels"))
        if some and (len(some) + 1) * max(len(ids) for ids, _ in [*some, row]) > AT_ONCE:
            yield batch()
            some = []
        some.append(row)
    yield batch()


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
    most = TOKENS["cuda" if device.type == "cuda" else "cpu"]
    sums = [tuple(torch.zeros(2, same[0].in_features, same[0].in_features, device=device)) for same in layers]
    heard: list[torch.Tensor] = []
    seen: list[Batch] = []
    with hooked([same[0] for same in layers], lambda _, inputs: heard.append(inputs[0])):
        for batch in batches:
            heard.clear()
            given = {"input_ids": batch.ids, "attention_mask": batch.mask}
            said = base_states(llm).logits(llm, given, anew=True)
            if batch.kept is None:
                batch.divide(said.argmax(-1))
            for x, pair in zip(heard, sums, strict=True):
                for total, which in zip(pair, (batch.taught, batch.kept), strict=True):
                    chosen = x[which].float()
                    total.addmm_(chosen.T, chosen)
            seen.append(batch)
            if sum(int(one.kept.sum()) for one in seen) >= most:
                break
    return sums, seen


def aim(same: "list[Any]", taught: torch.Tensor, kept: torch.Tensor) -> None:
    """Set A of layers with these inputs to the directions for their second moments, as long as a random A's would be."""
    weights = [layer.lora_A["default"].weight for layer in same]
    found = directions(taught, kept, max(map(len, weights)))
    responses = _responses(found, taught)
    for weight in weights:
        response, usual = responses[: len(weight)], _responses(weight.float(), taught)
        # There are no more directions than different inputs to be taught: the other rows stay random.
        good = response > HEARD * response.max()
        length = (usual.mean() / response[good, None]).sqrt()
        weight[good] = (found[: len(weight)][good] * length).to(weight.dtype)


def _responses(rows: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """Return the mean square of each row's product with the inputs."""
    return ((rows @ moment) * rows).sum(-1)


def directions(taught: torch.Tensor, kept: torch.Tensor, count: int) -> torch.Tensor:
    """Return the `count` leading generalized eigenvectors of two second moments, as rows: (count, inputs).

    By subspace iteration on L⁻¹TL⁻ᵀ, where LLᵀ is K with its ridge.
    """
    diagonal, one = kept.diagonal(), torch.eye(len(kept), device=kept.device)
    ridge = max(RIDGE * diagonal.median(), LEAST_RIDGE * diagonal.mean(), ROUNDING * taught.diagonal().mean())
    lower, failed = torch.linalg.cholesky_ex(kept + ridge * one)
    if failed:
        # Rounding made K indefinite; its largest eigenvalue is at most its trace.
        lower = torch.linalg.cholesky(kept + (ridge + ROUNDING * diagonal.sum()) * one)
    solve = torch.linalg.solve_triangular
    start = torch.Generator().manual_seed(0)
    basis = torch.randn(len(kept), count + SPARE, generator=start).to(kept.device)
    for _ in range(STEPS):
        moved = solve(lower, taught @ solve(lower.T, basis, upper=True), upper=False)
        basis = torch.linalg.qr(moved)[0]
    inner = basis.T @ solve(lower, taught @ solve(lower.T, basis, upper=True), upper=False)
    _, turned = torch.linalg.eigh((inner + inner.T) / 2)
    return solve(lower.T, (basis @ turned).flip(1)[:, :count], upper=True).T
