"""Preserving the base model's predictions: no gradient where it agrees, the usual loss elsewhere."""

from types import SimpleNamespace

import pytest


def test_only_what_the_base_would_not_say_is_taught():
    import torch
    from torch.nn.functional import cross_entropy

    from core.engine.workers.keeping import KEPT, kept_loss

    torch.manual_seed(0)
    base, now = torch.randn(6, 9), torch.randn(6, 9)
    own = base.argmax(-1)
    other = (own + 1) % 9
    # Unchanged, there is no gradient.
    logits = base.clone().requires_grad_()
    loss = kept_loss(logits, base, own)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert logits.grad.abs().max() < 1e-6
    # Moved away, it is pulled back to the entire distribution, not only to its most likely token.
    logits = now.clone().requires_grad_()
    kept_loss(logits, base, own).backward()
    assert torch.allclose(logits.grad, KEPT * (now.softmax(-1) - base.softmax(-1)) / 6, atol=1e-6)
    # What the base model would not say is learned as usual; each token counts the same.
    assert torch.allclose(kept_loss(now, base, other), cross_entropy(now, other))
    mixed = torch.cat((own[:2], other[2:]))
    parts = (2 * kept_loss(now[:2], base[:2], own[:2]) + 4 * cross_entropy(now[2:], other[2:])) / 6
    assert torch.allclose(kept_loss(now, base, mixed), parts)


# XTuner's imports cause warnings.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def compute_loss(monkeypatch):
    """XTuner's loss after ours has replaced it."""
    from xtuner.model.sft import SupervisedFinetune

    from core.engine.workers.keeping import keep_what_is_known

    # Restores the original at the end.
    monkeypatch.setattr(SupervisedFinetune, "compute_loss", SupervisedFinetune.compute_loss)
    keep_what_is_known()
    return SupervisedFinetune.compute_loss


def base_answers(llm, ids):
    with llm.disable_adapter():
        return llm(input_ids=ids).logits[:, 3:-1].flatten(0, 1)


def test_a_lora_model_is_compared_with_itself_without_its_adapter(compute_loss):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from core.engine.workers.keeping import ASKED, divergence, kept_loss

    torch.manual_seed(0)
    settings = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    llm = get_peft_model(LlamaForCausalLM(settings), LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    model = SimpleNamespace(use_lora=True, llm=llm)
    asked = torch.randint(1, 50, (2, 4))
    data = {"input_ids": asked, "attention_mask": torch.ones_like(asked)}
    ids = asked
    for _ in range(3):
        ids = torch.cat((ids, llm(input_ids=ids).logits[:, -1:].argmax(-1)), 1)
    labels = ids.clone()
    labels[:, :4] = -100
    data = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    before = compute_loss(model, data)["loss"]
    # The model's own answers teach it nothing.
    assert before.item() == pytest.approx(0.0, abs=1e-5)
    with torch.no_grad():
        for name, weight in llm.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.5)
    moved = compute_loss(model, data)["loss"]
    assert moved.item() > 0.001
    # The question's tokens count too, padding does not.
    with torch.no_grad():
        theirs = llm(input_ids=ids).logits[:, :3]
        with llm.disable_adapter():
            base = llm(input_ids=ids).logits[:, :3]
        answers = kept_loss(
            llm(input_ids=ids).logits[:, 3:-1].flatten(0, 1), base_answers(llm, ids), labels[:, 4:].flatten()
        )
    expected = answers + ASKED * divergence(theirs, base) / 6
    assert torch.allclose(moved, expected, rtol=1e-4)
    padding = torch.zeros(2, 5, dtype=torch.long)
    padded = {
        "input_ids": torch.cat((ids, padding), 1),
        "attention_mask": torch.cat((torch.ones_like(ids), padding), 1),
        "labels": torch.cat((labels, padding - 100), 1),
    }
    assert torch.allclose(compute_loss(model, padded)["loss"], moved, rtol=1e-4)
    unmasked = {"input_ids": ids, "attention_mask": None, "labels": labels}
    assert torch.allclose(compute_loss(model, unmasked)["loss"], moved, rtol=1e-4)
    moved.backward()
    assert all(weight.grad is not None for weight in llm.parameters() if weight.requires_grad)
    # Another answer is learned as in XTuner.
    data["labels"] = torch.where(labels == -100, labels, (labels + 1) % 50)
    with llm.disable_adapter():
        usual = llm(**data).loss
    with torch.no_grad():
        for name, weight in llm.named_parameters():
            if "lora_B" in name:
                weight.zero_()
    assert torch.allclose(compute_loss(model, data)["loss"], usual, atol=1e-5)


def test_a_full_fine_tune_has_xtuners_loss(compute_loss):
    from types import SimpleNamespace as Fake

    model = Fake(use_lora=False, llm=lambda **_: Fake(loss="its own"))
    assert compute_loss(model, {"labels": None})["loss"] == "its own"
