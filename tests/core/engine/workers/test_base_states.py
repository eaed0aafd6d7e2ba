"""The base model's predictions for rows that were seen before: the same, without its forward pass."""

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from core.engine.workers.base_states import BaseStates, base_states, first
from tests.core.engine.workers.tiny import llama

ROWS = ([5, 9, 3, 7, 11], [4, 8], [6, 2, 9, 12])


def batch(*rows, left=False):
    longest, given = max(map(len, rows)), {"input_ids": [], "attention_mask": []}
    for row in rows:
        gap = [0] * (longest - len(row))
        for name, part in (("input_ids", row), ("attention_mask", [1] * len(row))):
            given[name].append(gap + part if left else part + gap)
    return {name: torch.tensor(both) for name, both in given.items()}


@pytest.fixture
def counted():
    """A model that counts its forward passes."""
    model, passes = llama(), []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    model.passes = passes
    return model


def same(found, wanted, given):
    real = given["attention_mask"].bool()
    return torch.allclose(found[real], wanted[real], atol=1e-5)


@torch.no_grad()
def test_in_other_company_and_without_a_forward_pass(counted):
    states, model = BaseStates(), llama()
    for rows in (ROWS[:2], ROWS[1:]):
        states.logits(counted, batch(*rows))
    assert len(counted.passes) == 2
    for rows in (ROWS, ROWS[::-1], ROWS[1:2]):
        given = batch(*rows)
        assert same(states.logits(counted, given), model(**given).logits, given)
    assert len(counted.passes) == 2
    states.logits(counted, batch(ROWS[0][:-1]))
    assert len(counted.passes) == 3


@torch.no_grad()
def test_most_likely_tokens_where_they_are_asked_for(counted):
    states, model, given = BaseStates(), llama(), batch(*ROWS)
    places = given["attention_mask"].bool()
    places[0, :2] = False
    wanted = model(**given).logits.argmax(-1)
    # Others listen to the layers: there is a pass each time.
    for number in (1, 2):
        assert torch.equal(states.choices(counted, given, places)[places], wanted[places])
        assert len(counted.passes) == number
    assert not states.choices(counted, given, torch.zeros_like(places)).any()
    # But none for those who ask for the predictions afterwards.
    assert same(states.logits(counted, given), model(**given).logits, given)
    assert len(counted.passes) == 3


def test_no_copy_of_the_last_layers_weights_to_test_it():
    """torch makes one for each row unless rows follow each other in memory, as it counts them."""
    few = first(torch.zeros(3, 20, 4))
    assert few.stride()[0] == few.shape[1] * few.stride()[1]


@torch.no_grad()
def test_no_more_than_fits(counted):
    width, number = counted.config.hidden_size, 4
    states = BaseStates(len(ROWS[0]) * width * number)
    for row in ROWS * 2:
        states.logits(counted, batch(row))
    assert list(states.of) == [torch.tensor(ROWS[0]).numpy().tobytes()]
    assert len(counted.passes) == 5


@torch.no_grad()
def test_a_model_that_changes_its_logits_afterwards_is_asked_each_time():
    """Gemma 2 caps them."""
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=60, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8, final_logit_softcapping=0.05,
        )
    ).eval()  # fmt: skip
    states, given = BaseStates(), batch(*ROWS)
    for _ in range(2):
        assert same(states.logits(model, given), model(**given).logits, given)
    assert not states.usable
    anew = BaseStates()
    assert torch.equal(anew.choices(model, given, given["attention_mask"].bool()), model(**given).logits.argmax(-1))
    assert anew.usable is False
    assert not states.of


@pytest.mark.parametrize("how", ["left", "no mask", "partitioned"])
@torch.no_grad()
def test_what_cannot_be_told_apart_is_asked_each_time(counted, how):
    given = batch(*ROWS, left=how == "left")
    if how == "no mask":
        given["attention_mask"] = None
    if how == "partitioned":
        # As ZeRO-3 marks weights.
        next(counted.parameters()).ds_id = 0
    states = BaseStates()
    for _ in range(2):
        states.logits(counted, given)
    assert len(counted.passes) == 2


def test_each_model_has_its_own():
    one, other = llama(), llama()
    assert base_states(one) is base_states(one) is not base_states(other)
