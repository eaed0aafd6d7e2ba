"""Aiming an adapter: at the inputs of what is to be taught, past those of what the base model says itself."""

import pytest

# XTuner's imports cause warnings.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
IGNORED = -100


def adapted(*targets):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    settings = LlamaConfig(
        vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2
    )
    return get_peft_model(LlamaForCausalLM(settings), LoraConfig(r=4, target_modules=list(targets)))


@pytest.fixture
def llm():
    return adapted("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")


def rows(llm, taught=12, kept=12):
    """Rows with answers of the base model's own, and others with answers that it would not give."""
    import torch

    generator = torch.Generator().manual_seed(1)
    asked = [torch.randint(low, low + 29, (count, 6), generator=generator) for low, count in ((1, taught), (30, kept))]
    ids = torch.cat(asked)
    for _ in range(5):
        ids = torch.cat((ids, llm(input_ids=ids).logits[:, -1:].argmax(-1)), 1)
    ids[:taught, 6:] = (ids[:taught, 6:] + 1) % 60
    return [{"input_ids": row, "labels": [IGNORED] * 6 + row[6:]} for row in ids.tolist()]


def heard(llm, rows):
    """The mean size of A·x over the question tokens of some rows, by layer."""
    import torch

    from core.engine.workers.adapter_inputs import lora_layers

    sizes = {}

    def note(layer, inputs):
        found = layer.lora_A["default"](inputs[0])[:, :6]
        sizes[layer] = sizes.get(layer, 0.0) + float(found.square().mean())

    hooks = [layer.register_forward_pre_hook(note) for layer in lora_layers(llm)]
    with torch.no_grad():
        llm(input_ids=torch.tensor([row["input_ids"] for row in rows]))
    for hook in hooks:
        hook.remove()
    return list(sizes.values())


def test_the_adapter_hears_what_is_taught_and_hardly_what_is_kept(llm):
    from core.engine.workers.adapter_inputs import look_apart

    data = rows(llm, taught=11)
    llm.eval()
    before = [a / b for a, b in zip(heard(llm, data[:11]), heard(llm, data[11:]), strict=True)]
    llm.train()
    taught, kept = look_apart(llm, data)
    assert llm.training
    # The questions and three tokens of each answer; the other answers with their questions.
    assert (taught, kept) == (11 * 9, 12 * 11)
    llm.eval()
    after = [a / b for a, b in zip(heard(llm, data[:11]), heard(llm, data[11:]), strict=True)]
    assert len(after) == 10
    assert all(now > 1.5 * then for now, then in zip(after, before, strict=True))
    # The base model's answers are as they were: B is still zero.
    assert rows(llm, taught=11) == data


def test_memory_for_a_few_layers_at_a_time_gives_the_same(llm, monkeypatch):
    import copy

    import torch

    from core.engine.workers import adapter_inputs

    data, other = rows(llm), copy.deepcopy(llm)
    adapter_inputs.look_apart(llm, data)
    monkeypatch.setattr(adapter_inputs, "ROOM", 1)
    adapter_inputs.look_apart(other, data)
    for one, same in zip(adapter_inputs.lora_layers(llm), adapter_inputs.lora_layers(other), strict=True):
        assert torch.allclose(one.lora_A["default"].weight, same.lora_A["default"].weight, atol=1e-5)


def test_the_run_tells_how_long_it_took(llm):
    from core.engine.workers import adapter_inputs, phases

    adapter_inputs.look_apart(llm, rows(llm))
    assert {"aim: read", "aim: solve"} <= set(phases.spent)


def test_the_last_layer_reads_only_what_precedes_an_answer(llm, monkeypatch):
    """And each layer is listened to once, even if it turns out that the last one has to read everything."""
    import torch

    from core.engine.workers import adapter_inputs, base_states

    data, read = rows(llm), []
    head = llm.get_output_embeddings()
    plain = head.forward
    monkeypatch.setattr(head, "forward", lambda states: read.append(states[..., 0].numel()) or plain(states))
    kinds = adapter_inputs.look_apart(llm, data)
    # Five tokens of each answer; otherwise only what tells that this is enough.
    assert len(data) * 5 <= sum(read) <= len(data) * 5 + 8 * base_states.TESTED
    aimed = [layer.lora_A["default"].weight.clone() for layer in adapter_inputs.lora_layers(llm)]
    other = adapted("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
    monkeypatch.setattr(base_states, "alike", lambda *_: False)
    assert adapter_inputs.look_apart(other, data) == kinds
    for layer, wanted in zip(adapter_inputs.lora_layers(other), aimed, strict=True):
        assert torch.allclose(layer.lora_A["default"].weight, wanted, atol=1e-5)


def test_the_last_layer_may_have_one_too():
    """It alone makes the predictions of the base model, which are tested once while the layers are listened to."""
    from core.engine.workers.adapter_inputs import look_apart

    llm = adapted("q_proj", "lm_head")
    before = llm.get_output_embeddings().lora_A["default"].weight.detach().clone()
    assert look_apart(llm, rows(llm, taught=11)) == (11 * 9, 12 * 11)
    assert not before.equal(llm.get_output_embeddings().lora_A["default"].weight)


@pytest.mark.parametrize("kinds", [{"taught": 0}, {"kept": 0}])
def test_without_both_kinds_it_stays_as_it_was(llm, kinds):
    import torch

    from core.engine.workers.adapter_inputs import look_apart, lora_layers

    before = [layer.lora_A["default"].weight.clone() for layer in lora_layers(llm)]
    assert look_apart(llm, rows(llm, **kinds)) is None
    assert all(
        torch.equal(layer.lora_A["default"].weight, was) for layer, was in zip(lora_layers(llm), before, strict=True)
    )


def test_every_answer_of_a_conversation_counts():
    import torch

    from core.engine.workers.adapter_inputs import answers

    told = [[IGNORED, 5, 6, IGNORED, IGNORED, 7, IGNORED, IGNORED], [IGNORED] * 8]
    mask = torch.tensor([[1] * 7 + [0], [1] * 8])
    assert list(answers(torch.tensor(told), mask)) == [(0, (0, 1, 3)), (0, (3, 5, 6))]


def test_not_for_an_adapter_that_has_learned_nor_for_packed_rows(llm):
    from core.engine.workers.adapter_inputs import lora_layers
    from core.engine.workers.aiming import suits

    assert suits(llm, [{"input_ids": [1]}])
    assert not suits(llm, [{"input_ids": [1], "cumulative_len": [0, 1]}])
    lora_layers(llm)[0].lora_B["default"].weight.data[0, 0] = 1.0
    assert not suits(llm, [{"input_ids": [1]}])


def test_no_row_of_a_is_larger_than_before_where_little_is_different(llm):
    import torch

    from core.engine.workers.adapter_inputs import aim, lora_layers

    layer = lora_layers(llm)[0]
    before = layer.lora_A["default"].weight.detach().clone()
    # Two different inputs are taught, and there are four directions.
    x, y = torch.randn(2, 32)[torch.arange(40) % 2], torch.randn(300, 32)
    with torch.no_grad():
        aim([[layer]], (x.T @ x / 40)[None], (y.T @ y / 300)[None])
        after = layer.lora_A["default"].weight
        assert torch.isfinite(after).all()
        assert after.norm(dim=1).max() < 3 * before.norm(dim=1).max()
        changed = (after != before).any(1)
        assert changed.sum() == 2
        # Without anything to be taught here, nothing changes.
        aim([[layer]], torch.zeros(1, 32, 32), (y.T @ y / 300)[None])
        assert torch.equal(layer.lora_A["default"].weight, after)


def test_the_better_a_direction_tells_apart_the_longer_it_is(llm):
    import torch

    from core.engine.workers.adapter_inputs import LOUD, _responses, aim, lora_layers

    layer = lora_layers(llm)[0]
    scales = torch.linspace(1, 4, 32)
    taught, kept = torch.diag(scales**2), torch.eye(32)
    with torch.no_grad():
        usual = _responses(layer.lora_A["default"].weight, taught).mean()
        aim([[layer]], taught[None], kept[None])
        rows = layer.lora_A["default"].weight.detach().clone()
    ratio = _responses(rows, taught) / _responses(rows, kept)
    assert (ratio[:-1] > ratio[1:]).all()
    # What is heard of what is taught is in proportion to that, and in all that of a random A times a constant.
    heard = _responses(rows, taught)
    assert torch.allclose(heard / ratio, (heard / ratio).mean().expand(len(rows)), rtol=1e-3)
    assert heard.mean() == pytest.approx(LOUD * usual.item(), rel=1e-3)


def test_rows_come_in_batches_of_a_bounded_size(llm, monkeypatch):
    from core.engine.workers import adapter_inputs

    monkeypatch.setitem(adapter_inputs.AT_ONCE, "cpu", 100)
    monkeypatch.setattr(adapter_inputs, "LONGEST", 60)
    data = [{"input_ids": [1] * size, "labels": [IGNORED] * size} for size in (5, 500, 40, 20, 90, 7)]
    batches = list(adapter_inputs.padded(llm, data))
    assert all(batch.ids.numel() <= 100 for batch in batches)
    assert sum(int(batch.mask.sum()) for batch in batches) == 5 + 60 + 40 + 20 + 60 + 7


def test_rows_of_similar_length_are_together(llm, monkeypatch):
    from core.engine.workers import adapter_inputs

    monkeypatch.setitem(adapter_inputs.AT_ONCE, "cpu", 120)
    data = [{"input_ids": [1] * size, "labels": [IGNORED] * size} for size in (5, 60) * 12]
    batches = list(adapter_inputs.padded(llm, data))
    assert sum(batch.ids.numel() for batch in batches) < 1.2 * 12 * 65
    # From everywhere in the data, not the short ones first.
    assert batches[0].ids.shape[1] == 60


def test_a_layer_that_fails_leaves_no_hook(llm):
    from core.engine.workers.adapter_inputs import hooked, lora_layers

    layers = lora_layers(llm)
    with pytest.raises(RuntimeError), hooked(layers, print):
        raise RuntimeError
    assert not any(layer._forward_pre_hooks for layer in layers)
