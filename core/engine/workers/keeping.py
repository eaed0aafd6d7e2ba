"""Has a LoRA training teach only what the base model would not say by itself; what it would say stays as likely as it was.

A part of `entry`, in the engine's interpreter. The base model is the trained one with its adapter off, so it takes no
memory of its own and one more pass forward. Where a token of an answer is the base's own choice, the loss is the
Kullback-Leibler divergence from the base's prediction to the trained model's; for all other tokens it is the usual one.
Trained on the base's own answers the usual way, a model becomes surer of them than it was, and others of its answers
change. Not for full fine-tunes, which have no base beside them, nor for sequences that several GPUs share.
"""

from typing import Any

import torch
from torch.nn.functional import cross_entropy

IGNORED = -100


def kept_loss(logits: torch.Tensor, base: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean loss of the tokens that are trained on.

    `logits` and `base` are the predictions of the trained and of the base model, of shape (tokens, vocabulary); `labels`
    the tokens that come (tokens). Zero, with no gradient, where the base's choices are all that is trained on and
    nothing has changed yet.
    """
    own = base.argmax(-1) == labels
    taught = cross_entropy(logits[~own].float(), labels[~own], reduction="sum")
    expected = base[own].float().log_softmax(-1)
    kept = (expected.exp() * (expected - logits[own].float().log_softmax(-1))).sum()
    return (taught + kept) / len(labels)


def keep_what_is_known() -> None:
    """Have XTuner take this loss wherever there is an adapter."""
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
            base = self.llm(**given).logits[:, :-1][trained]
        logits = self.llm(**given).logits[:, :-1][trained]
        return {"loss": kept_loss(logits, base, labels[trained])}

    sft.SupervisedFinetune.compute_loss = compute_loss
