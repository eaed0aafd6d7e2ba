"""Where a LoRA adapter looks: at the inputs in which the rows to be taught differ from those to be kept.

Part of `entry`, in the engine's interpreter; belongs to the loss in `keeping`. A LoRA layer adds B·A·x to the output of
a linear layer. A is random by default: it sees best what all inputs have in common, so whatever B learns changes every
answer. Here the rows of A begin as the directions a with the largest ratio of aᵀTa to aᵀKa, T and K being the second
moments of the layer's inputs over the tokens to be taught and to be kept (the leading generalized eigenvectors). Then
both are trained. That an adapter can be aimed by second moments is CorDA's idea (arXiv 2406.05223), with other
directions; docs/recipes.md has what these ones were worth.

An answer that the base model would give itself is to be kept, with its question. Of any other, the adapter has to
recognize the question and the beginning of the answer. A stays random without tokens of both kinds, when a run resumes
or continues an adapter, for packed rows of variable length, and under ZeRO-3, where each process holds a part of the
weights.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

IGNORED = -100
# An answer is the base model's own if this share of its tokens are the base model's first choice.
OWN = 0.9
# Tokens of an answer that count as its beginning.
FIRST = 3
# Tokens to be kept that are looked at, with those to be taught on the way; and rows at a time.
TOKENS = {"cpu": 3072, "cuda": 32768}
AT_ONCE = 8
# Bytes for second moments; layers that do not fit are measured in further passes.
ROOM = 1 << 30
# Added to K, as a share of its median diagonal entry, and at least of the mean: what is not in these tokens may be in
# others.
RIDGE, LEAST_RIDGE = 0.1, 1e-4
# Of single precision, with sums over thousands of tokens.
ROUNDING = 1e-6
# Of the subspace iteration: steps, and directions beyond those wanted.
STEPS, SPARE = 12, 8


@dataclass(slots=True)
class Batch:
    """Padded rows, and which of their tokens are to be taught and to be kept; each of shape (rows, tokens)."""

    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    taught: "torch.Tensor | None" = None
    kept: "torch.Tensor | None" = None

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


def look_before_training() -> None:
    """Make XTuner aim the adapter of a new run, before its optimizer copies the weights."""
    from mmengine.device import get_device
    from mmengine.runner import FlexibleRunner, Runner
    from xtuner.model import sft
    from xtuner.parallel.sequence import get_sequence_parallel_world_size

    running: list[Any] = []
    usual = sft.SupervisedFinetune.init_weights

    def init_weights(self: Any) -> None:
        usual(self)
        if not self.use_lora or not running or running[-1]._resume or get_sequence_parallel_world_size() > 1:
            return
        rows = running[-1].train_dataloader.dataset
        if suits(self.llm, rows):
            # DeepSpeed would move the model there only later.
            self.to(get_device())
            counts = look_apart(self.llm, rows)
            if counts:
                taught, kept = counts
                running[-1].logger.info(f"The adapter is aimed at {taught} tokens to be taught, past {kept} to be kept")

    sft.SupervisedFinetune.init_weights = init_weights
    for runner_class in (Runner, FlexibleRunner):

        def train(self: Any, _train: Any = runner_class.train) -> Any:
            running.append(self)
            return _train(self)

        runner_class.train = train


def suits(llm: Any, rows: "Sequence[dict[str, Any]]") -> bool:
    """Return whether the adapter is a new one, the weights are whole, and the rows stand apart."""
    fresh = not any(layer.lora_B["default"].weight.any() for layer in lora_layers(llm))
    whole = not any(hasattr(weight, "ds_id") for weight in llm.parameters())
    return fresh and whole and "cumulative_len" not in rows[0]


def look_apart(llm: Any, rows: "Sequence[dict[str, Any]]") -> "tuple[int, int] | None":
    """Choose A for all LoRA layers of `llm`, a PEFT model whose B is still zero.

    `rows` are the training data, dicts with `input_ids` and `labels`; all processes must give the same. Returns how many
    tokens to be taught and to be kept were found; None if one kind is missing and nothing was changed.
    """
    was = llm.training
    llm.eval()
    try:
        with torch.no_grad():
            batches: Iterable[Batch] = padded(llm, rows)
            for layers in portions(sharing(llm, rows[0]["input_ids"])):
                sums, batches = moments(llm, batches, layers)
                taught, kept = (
                    int(sum(getattr(batch, kind).sum() for batch in batches)) for kind in ("taught", "kept")
                )
                if not taught or not kept:
                    return None
                for same, (theirs, others) in zip(layers, sums, strict=True):
                    for layer in same:
                        aim(layer, theirs / taught, others / kept)
    finally:
        llm.train(was)
    return taught, kept


def lora_layers(llm: Any) -> "list[Any]":
    """Return the linear layers with an adapter; an embedding has another kind."""
    return [module for module in llm.modules() if "default" in getattr(module, "lora_A", {})]


def padded(llm: Any, rows: "Sequence[dict[str, Any]]") -> "Iterator[Batch]":
    """Yield the rows, from everywhere in the data: usually they are in order of their kind."""
    device = llm.get_input_embeddings().weight.device
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    for first in range(0, len(order), AT_ONCE):
        some = [rows[place] for place in order[first : first + AT_ONCE]]
        longest = max(len(row["input_ids"]) for row in some)
        ids, mask, labels = (
            torch.tensor([list(values) + [filler] * (longest - len(values)) for values in columns], device=device)
            for columns, filler in (
                ([row["input_ids"] for row in some], 0),
                ([[1] * len(row["input_ids"]) for row in some], 0),
                ([row["labels"] for row in some], IGNORED),
            )
        )
        yield Batch(ids, mask, labels)


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

    hooks = [layer.register_forward_pre_hook(note) for layer in lora_layers(llm)]
    llm(input_ids=ids)
    for hook in hooks:
        hook.remove()
    return [layers for _, layers in found]


def portions(layers: "list[list[Any]]") -> "Iterator[list[list[Any]]]":
    """Yield the layers in portions whose second moments fit into ROOM."""
    portion, taken = [], 0
    for same in layers:
        needed = 2 * 4 * same[0].in_features ** 2
        if portion and taken + needed > ROOM:
            yield portion
            portion, taken = [], 0
        portion.append(same)
        taken += needed
    if portion:
        yield portion


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
    hooks = [same[0].register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0])) for same in layers]
    seen: list[Batch] = []
    for batch in batches:
        heard.clear()
        said = llm(input_ids=batch.ids, attention_mask=batch.mask).logits
        if batch.kept is None:
            batch.divide(said.argmax(-1))
        for x, pair in zip(heard, sums, strict=True):
            for total, which in zip(pair, (batch.taught, batch.kept), strict=True):
                chosen = x[which].float()
                total.addmm_(chosen.T, chosen)
        seen.append(batch)
        if sum(int(one.kept.sum()) for one in seen) >= most:
            break
    for hook in hooks:
        hook.remove()
    return sums, seen


def aim(layer: Any, taught: torch.Tensor, kept: torch.Tensor) -> None:
    """Set A of a layer to the directions for these second moments, as long as those of a random A would be."""
    weight = layer.lora_A["default"].weight
    before = weight.float()
    if not taught.any():
        # What is taught never passes this layer.
        return
    found = directions(taught, kept, len(weight))
    size = ((before @ taught) * before).sum(-1).mean().sqrt()
    found *= size / ((found @ taught) * found).sum(-1, keepdim=True).sqrt()
    if torch.distributed.is_initialized():
        torch.distributed.broadcast(found, 0)
    weight.copy_(found)


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
