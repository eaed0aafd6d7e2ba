"""A few tokens are read as by PEFT's layers and autocast, but by other products; afterwards the model is as it was."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import linear

from core.engine.workers import few_tokens
from core.engine.workers.few_tokens import FEW, shorter_ways
from core.engine.workers.packed import Packed
from tests.core.engine.workers.tiny import llama

BF16 = torch.bfloat16


def adapted(dtype=torch.float32, **settings):
    """Return a tiny model with an adapter in single precision that changes what it says."""
    settings = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj", "down_proj"]} | settings
    model = get_peft_model(llama(attention_bias=True).to(dtype), LoraConfig(**settings))
    torch.manual_seed(3)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = torch.randn_like(weight, dtype=torch.float32) * 0.2
    return model.eval()


def said(model, count):
    """Return the predictions for so many tokens."""
    torch.manual_seed(count)
    with torch.no_grad():
        return model(torch.randint(3, 48, (1, count)), use_cache=False).logits[0].float()


def apart(one, other):
    return float((one - other).norm() / other.norm())


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
class TestShorterWays:
    @pytest.mark.parametrize("count", [1, 2, FEW, FEW + 1])
    def test_in_single_precision_the_same(self, count):
        model = adapted()
        usual = said(model, count)
        with model.disable_adapter():
            base = said(model, count)
        assert apart(base, usual) > 0.1
        with shorter_ways(model) as short:
            assert short
            assert apart(said(model, count), usual) < 1e-5
            with model.disable_adapter():
                assert apart(said(model, count), base) < 1e-5

    @pytest.mark.parametrize("count", [1, 2, FEW, FEW + 1])
    def test_in_half_precision_as_near_to_the_truth_as_autocast(self, count):
        model = adapted(BF16)
        exact = adapted()
        exact.load_state_dict(model.state_dict())
        truth = said(exact, count)
        with torch.autocast("cpu", dtype=BF16):
            usual = apart(said(model, count), truth)
        with shorter_ways(model, BF16) as short:
            assert short
            assert apart(said(model, count), truth) < 1.5 * usual < 0.1

    def test_weights_are_not_rearranged_for_a_few(self, monkeypatch):
        read = []
        monkeypatch.setattr(
            torch.nn.functional, "linear", lambda tokens, *more: read.append(tokens.shape[-2]) or linear(tokens, *more)
        )
        model = adapted(BF16)
        with shorter_ways(model, BF16):
            said(model, 1)
            said(model, FEW)
            assert read == []
            said(model, FEW + 1)
        assert set(read) == {FEW + 1}

    def test_afterwards_it_is_as_before(self):
        model = adapted()
        with pytest.raises(KeyboardInterrupt), shorter_ways(model):
            raise KeyboardInterrupt
        assert not any("forward" in vars(layer) for layer in model.modules())

    @pytest.mark.parametrize("settings", [{"use_dora": True}, {"lora_bias": True}])
    def test_another_kind_of_adapter_is_left_to_peft(self, settings):
        with shorter_ways(adapted(**settings)) as short:
            assert not short

    def test_where_autocast_is_needed_it_stays(self):
        with shorter_ways(adapted(), BF16) as short:
            assert not short
        model = adapted(BF16)
        model.get_base_model().model.norm.float()
        with shorter_ways(model, BF16) as short:
            assert not short

    def test_without_an_adapter_nothing_is_shorter(self):
        with shorter_ways(llama()) as short:
            assert not short


@pytest.mark.parametrize(("most", "expected"), [(32 * 48, [2, 1]), (32 * 48 - 1, [2, 2])])
def test_a_few_tokens_of_a_small_model_are_read_by_one_thread(monkeypatch, most, expected):
    monkeypatch.setattr(few_tokens, "FEW_WEIGHTS", most)
    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model, threads = llama(), []
        model.model.register_forward_pre_hook(lambda *_: threads.append(torch.get_num_threads()))
        packed = Packed(model, 1)
        with torch.no_grad():
            packed.read({0: [5] * (FEW + 1)})
            packed.read({0: [5] * FEW})
        assert threads == expected
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(usual)
