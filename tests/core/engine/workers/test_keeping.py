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


def plain(logits, base, labels, asked, opening=None, more=1.0):
    """The same loss by formula, on all tokens at once."""
    from torch.nn.functional import cross_entropy, kl_div

    from core.engine.workers.keeping import ASKED, KEPT, OPENING

    def divergence(rows):
        now, before = (one[rows].float().log_softmax(-1) for one in (logits, base))
        return kl_div(now, before, log_target=True, reduction="sum")

    trained, own = labels != -100, base.argmax(-1) == labels
    taught = cross_entropy(logits[trained & ~own].float(), labels[trained & ~own], reduction="sum")
    if opening is not None:
        first = trained & ~own & opening
        taught = taught + (OPENING - 1) * cross_entropy(logits[first].float(), labels[first], reduction="sum")
    return (taught + more * (KEPT * divergence(trained & own) + ASKED * divergence(asked))) / trained.sum()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("piece", [1, 9 * 7, 1 << 22])
def test_the_loss_in_pieces_is_the_formula(dtype, piece, monkeypatch):
    import torch

    from core.engine.workers import keeping

    monkeypatch.setattr(keeping, "PIECE", piece)
    torch.manual_seed(1)
    hidden, weight = torch.randn(20, 5), torch.randn(9, 5)
    base = (hidden @ weight.T + torch.randn(20, 9)).to(getattr(torch, dtype))
    labels = torch.where(torch.arange(20) % 2 == 0, base.argmax(-1), torch.randint(0, 9, (20,)))
    labels[:6], asked = -100, (torch.arange(20) >= 2) & (torch.arange(20) < 6)
    opening, found = torch.arange(20) % 5 < 2, {}
    for name, loss in (("plain", plain), ("pieces", keeping.kept_loss)):
        head = weight.clone().requires_grad_()
        # Scaled as mixed precision scales it.
        value = loss((hidden @ head.T).to(base.dtype), base, labels, asked, opening, 3.0)
        (value * 1024).backward()
        found[name] = value.detach(), head.grad / 1024
    loose = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-3}[dtype]
    assert found["pieces"][0] == pytest.approx(found["plain"][0].item(), rel=1e-5)
    assert torch.allclose(found["pieces"][1], found["plain"][1], rtol=loose, atol=loose)


def test_no_copy_of_all_logits_is_held():
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    from core.engine.workers.keeping import kept_loss

    head, hidden, held = torch.randn(4000, 8, requires_grad=True), torch.randn(64, 8), []
    logits = hidden @ head.T
    memory = logits.data_ptr()
    with saved_tensors_hooks(lambda one: held.append(one.numel()) or one, lambda one: one):
        loss = kept_loss(logits, torch.randn(64, 4000), torch.randint(0, 4000, (64,)))
    assert sum(held) < 4000
    # The gradient is where the logits were.
    assert loss.grad_fn.next_functions[0][0].gradient.data_ptr() == memory


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


def test_a_lora_model_is_compared_with_itself_without_its_adapter(compute_loss):
    import torch

    from core.engine.workers.keeping import OPENING

    model = small_model()
    llm = model.llm
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
        theirs = llm(input_ids=ids).logits[:, :-1].flatten(0, 1)
        with llm.disable_adapter():
            base = llm(input_ids=ids).logits[:, :-1].flatten(0, 1)
    targets = labels[:, 1:].flatten()
    assert torch.allclose(moved, plain(theirs, base, targets, targets == -100), rtol=1e-4)
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
    # Another answer is learned as in XTuner, and how it begins counts more: here all of it.
    data["labels"] = torch.where(labels == -100, labels, (labels + 1) % 50)
    with llm.disable_adapter():
        usual = llm(**data).loss
    with torch.no_grad():
        for name, weight in llm.named_parameters():
            if "lora_B" in name:
                weight.zero_()
    assert torch.allclose(compute_loss(model, data)["loss"], OPENING * usual, atol=1e-5)


def test_the_first_tokens_of_every_answer_are_its_beginning():
    import torch

    from core.engine.workers.keeping import openings

    trained = torch.tensor([[0, 1, 1, 1, 1, 0, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]]).bool()
    assert openings(trained).int().tolist() == [[0, 1, 1, 1, 0, 0, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]]


def test_texts_and_the_answers_among_them_count_apart(compute_loss, monkeypatch):
    import torch
    from xtuner.model.sft import SupervisedFinetune

    from core.engine.workers.keeping import AMONG_TEXTS, keep_what_is_known, texts_apart

    ids = torch.randint(1, 50, (3, 12))
    mask, labels = torch.ones_like(ids), ids.clone()
    # The second row is a question with an answer, and shorter.
    labels[1, :4], labels[1, 7:], mask[1, 7:] = -100, -100, 0
    data = {"input_ids": ids, "attention_mask": mask, "labels": labels, "use_cache": False}
    texts, answers = texts_apart(data)
    assert texts["labels"].tolist() == labels[[0, 2]].tolist() and texts["use_cache"] is False
    assert answers["input_ids"].tolist() == ids[1:2, :7].tolist()
    assert [part["labels"].shape for part in texts_apart(answers)] == [(1, 7)]
    model = small_model()
    with torch.no_grad():
        for name, weight in model.llm.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.5)
    of_texts, of_answers = (compute_loss(model, part)["loss"].item() for part in (texts, answers))
    monkeypatch.setattr("core.engine.workers.keeping.AMONG_TEXTS", 1.0)
    keep_what_is_known(texts=True)
    assert SupervisedFinetune.compute_loss(model, data)["loss"].item() == pytest.approx(of_texts + of_answers, rel=1e-4)
    # The questions' tokens and the base model's own weigh more than beside conversations.
    monkeypatch.setattr("core.engine.workers.keeping.AMONG_TEXTS", AMONG_TEXTS)
    assert SupervisedFinetune.compute_loss(model, data)["loss"].item() > of_texts + of_answers
    # Under ZeRO-3 all processes compute the same number of parts.
    next(model.llm.parameters()).ds_id = 0
    together = SupervisedFinetune.compute_loss(model, data)["loss"].item()
    assert together == SupervisedFinetune.compute_loss(model, data)["loss"].item() and together > 0


def small_model():
    """A LoRA model as XTuner trains it, of random weights."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    settings = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    llm = get_peft_model(LlamaForCausalLM(settings), LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    return SimpleNamespace(use_lora=True, llm=llm)


def test_a_full_fine_tune_has_xtuners_loss(compute_loss):
    from types import SimpleNamespace as Fake

    model = Fake(use_lora=False, llm=lambda **_: Fake(loss="its own"))
    assert compute_loss(model, {"labels": None})["loss"] == "its own"
