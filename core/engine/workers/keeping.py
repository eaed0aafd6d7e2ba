"""A LoRA loss that teaches only what the base model would not say itself; the rest stays as likely as it was.

Part of `entry`, in the engine's interpreter. The base model is the trained one with its adapter disabled: no extra
weights, but one more forward pass and its logits. Where a token of an answer is the base model's own choice, and on the
tokens of the question, the loss is the Kullback-Leibler divergence from the base model's prediction to the trained
model's; for all other tokens it is cross entropy. With cross entropy on the base model's own answers, a model becomes more certain of them than it was, and its
other answers change. Not for full fine-tuning, which has no base model at hand, nor for sequence parallelism.
"""

from typing import Any

import torch
from torch.nn.functional import cross_entropy

IGNORED = -100
# Weight of the divergence on the base model's own tokens, and of that on the questions' tokens; docs/recipes.md has the
# measurements.
KEPT, ASKED = 2.0, 1.0


def kept_loss(logits: torch.Tensor, base: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean loss over the tokens that are trained on.

    `logits` and `base` are the predictions of the trained and the base model, of shape (tokens, vocabulary); `labels`
    are the target tokens (tokens). Zero, with no gradient, if all targets are the base model's choices and nothing has
    changed yet.
    """
    own = base.argmax(-1) == labels
    taught = cross_entropy(logits[~own].float(), labels[~own], reduction="sum")
    return (taught + KEPT * divergence(logits[own], base[own])) / len(labels)


def divergence(logits: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence in nats from the base model's predictions, summed over the tokens."""
    expected = base.float().log_softmax(-1)
    return (expected.exp() * (expected - logits.float().log_softmax(-1))).sum()


def keep_what_is_known() -> None:
    """Make XTuner use this loss wherever there is an adapter."""
    from xtuner.model import sft
    from xtuner.parallel.sequence import get_sequence_parallel_world_size

    usual = sft.SupervisedFinetune.compute_loss

    def compute_loss(self: Any, data: "dict[str, Any]", data_samples: Any = None) -> "dict[str, torch.Tensor]":
        if not self.use_lora or get_sequence_parallel_world_size() > 1:
            return usual(self, data, data_samples)
        given = {name: value for name, value in data.items() if name != "labels"}
        labels = data["labels"][:, 1:]
        trained = labels != IGNORED
        if not trained.any():
            return usual(self, data, data_samples)
        with torch.no_grad(), self.llm.disable_adapter():
            base = self.llm(**given).logits[:, :-1]
        logits = self.llm(**given).logits[:, :-1]
        # Packed rows of variable length have no mask, and no padding.
        mask = data.get("attention_mask")
        asked = ~trained if mask is None else mask[:, 1:].bool() & ~trained
        loss = kept_loss(logits[trained], base[trained], labels[trained])
        return {"loss": loss + ASKED * divergence(logits[asked], base[asked]) / trained.sum()}

    sft.SupervisedFinetune.compute_loss = compute_loss
