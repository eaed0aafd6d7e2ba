"""A LoRA loss that teaches only what the base model would not say itself; the rest stays as likely as it was.

Part of `entry`, in the engine's interpreter. The base model is the trained one with its adapter disabled: no extra
weights, but its logits and, the first time a row is seen, one more forward pass (`base_states`). Where a token of an
answer is the base model's own choice, and on the tokens of the question, the loss is the Kullback-Leibler divergence
from the base model's prediction to the trained model's; for all other tokens it is cross entropy. With cross entropy on
the base model's own answers, a model becomes more certain of them than it was, and its other answers change. Not for
full fine-tuning, which has no base model at hand, nor for sequence parallelism.

Texts (continued pre-training) and the answers among them count apart, each by its own number of tokens: a text has many
times as many, and the answers would be lost among them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from core.engine.workers.adapter_inputs import FIRST
from core.engine.workers.base_states import base_states, divided

IGNORED = -100
# Weight of the divergence on the base model's own tokens, and of that on the questions' tokens; docs/recipes.md has the
# measurements.
KEPT, ASKED = 2.0, 1.0
# Weight of a token that begins an answer which the base model would not give: it decides which answer is given.
OPENING = 3.0
# How much more is kept where texts are learned (docs/corpus.md).
AMONG_TEXTS = 4.0
# Logits that are compared at a time: the copies that this takes are 16 MB each, whatever the batch.
PIECE = 1 << 22


def kept_loss(
    logits: torch.Tensor,
    base: torch.Tensor,
    labels: torch.Tensor,
    asked: torch.Tensor | None = None,
    opening: torch.Tensor | None = None,
    more: float = 1.0,
) -> torch.Tensor:
    """Return the mean loss over the tokens that are trained on.

    `logits` and `base` are the predictions of the trained and the base model, of shape (tokens, vocabulary); `labels`
    are the target tokens, IGNORED where none is trained; `asked` are the questions' tokens, `opening` those that begin
    an answer; what is kept counts `more`. Zero, with no gradient, if all targets are the base model's choices and
    nothing has changed yet. Overwrites `logits` (see `Apart`).
    """
    trained, own = labels != IGNORED, base.argmax(-1) == labels
    taught = torch.ones_like(own, dtype=torch.float32)
    if opening is not None:
        taught = torch.where(opening, OPENING, taught)
    weights = trained * torch.where(own, more * KEPT, taught)
    if asked is not None:
        weights = weights + more * ASKED * asked
    targets = torch.where(own, IGNORED, labels)
    # Of a row cut off within its question nothing is trained.
    return Apart.apply(logits, base, targets, weights) / trained.sum().clamp(min=1)


class Apart(torch.autograd.Function):
    """How far predictions are from their targets, in nats, summed over the tokens with their weights.

    A token's target is `targets`, or the base model's entire prediction where that is IGNORED. In both cases the
    gradient is the difference of two distributions. It is computed together with the value, piece by piece, and takes
    the place of the logits, which nothing else needs: autograd would hold five more copies of them in single precision.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, base: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        # In float16 small gradients would be lost: they are only scaled up later.
        gradient = logits.detach()
        if ctx.needs_input_grad[0] and logits.dtype == torch.float16:
            gradient = torch.empty_like(logits, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float32, device=logits.device)
        for at in torch.arange(len(logits)).split(max(1, PIECE // logits.shape[-1])):
            here = slice(int(at[0]), int(at[-1]) + 1)
            weight, target = weights[here, None].float(), targets[here, None]
            said = logits[here].float().log_softmax(-1)
            expected = base[here].float().log_softmax(-1)
            wanted = expected.exp()
            taught = target != IGNORED
            divergence = (wanted * (expected - said)).sum(-1, keepdim=True)
            surprise = -said.gather(-1, target.clamp(min=0))
            total += (weight * torch.where(taught, surprise, divergence)).sum()
            if ctx.needs_input_grad[0]:
                wanted *= ~taught
                wanted.scatter_add_(-1, target.clamp(min=0), taught.float())
                gradient[here] = weight * (said.exp() - wanted)
        ctx.gradient = gradient if ctx.needs_input_grad[0] else None
        return total

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return ctx.gradient.mul_(scale), None, None, None


def keep_what_is_known(*, texts: bool = False) -> None:
    """Make XTuner use this loss wherever there is an adapter; `texts`: the data are texts, with answers among them."""
    from xtuner.model import sft
    from xtuner.parallel.sequence import get_sequence_parallel_world_size

    usual = sft.SupervisedFinetune.compute_loss

    def compute_loss(self: Any, data: "dict[str, Any]", data_samples: Any = None) -> "dict[str, torch.Tensor]":
        if not self.use_lora or get_sequence_parallel_world_size() > 1:
            return usual(self, data, data_samples)
        if not texts:
            return {"loss": _loss(self.llm, data)}
        parts = texts_apart(data) if splits(self.llm, data) else [data]
        return {"loss": sum(_loss(self.llm, part, AMONG_TEXTS) for part in parts)}

    sft.SupervisedFinetune.compute_loss = compute_loss


def _loss(llm: Any, data: "Mapping[str, Any]", more: float = 1.0) -> torch.Tensor:
    given = {name: value for name, value in data.items() if name != "labels"}
    # The last position predicts nothing.
    labels = following(data["labels"], IGNORED)
    trained = labels != IGNORED
    with torch.no_grad(), llm.disable_adapter():
        base = as_computed(base_states(llm).logits(llm, given), llm.get_input_embeddings().weight.dtype)
    logits = llm(**given).logits
    # Packed rows of variable length have no mask, and no padding.
    mask = data.get("attention_mask")
    real = torch.ones_like(trained) if mask is None else mask.bool()
    marks = labels, following(real, False) & ~trained, openings(trained)
    return kept_loss(logits.flatten(0, 1), base.flatten(0, 1), *(mark.flatten() for mark in marks), more)


def splits(llm: Any, data: "Mapping[str, Any]") -> bool:
    """Return whether a batch can be computed in two parts: under ZeRO-3 all processes compute the same number."""
    return data.get("attention_mask") is not None and not divided(llm)


def texts_apart(data: "Mapping[str, Any]") -> "Iterator[dict[str, Any]]":
    """Yield the texts of a batch and its other rows, each without the padding that the other needed.

    A text has no question: it is trained from its first token.
    """
    shape, text = data["labels"].shape, data["labels"][:, 0] != IGNORED
    for rows in (text, ~text):
        if rows.any():
            longest = int(data["attention_mask"][rows].sum(1).max())
            yield {
                name: value[rows, :longest] if getattr(value, "shape", ())[:2] == shape else value
                for name, value in data.items()
            }


def openings(trained: torch.Tensor) -> torch.Tensor:
    """Return which tokens are among the first of their answer, by whether each is trained; both (rows, tokens)."""
    count = trained.cumsum(1)
    before = torch.where(trained, 0, count).cummax(1).values
    return trained & (count - before <= FIRST)


def following(tokens: torch.Tensor, end: Any) -> torch.Tensor:
    """Return at each position what is at the next, and `end` at the last."""
    return torch.cat((tokens[:, 1:], torch.full_like(tokens[:, :1], end)), 1)


def as_computed(logits: torch.Tensor, weights: torch.dtype) -> torch.Tensor:
    """Return logits in the precision they were computed in, autocast's or the weights': many models then widen them."""
    return logits.to(torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else weights)
