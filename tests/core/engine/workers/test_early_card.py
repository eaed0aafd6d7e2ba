"""Weights read ahead and loaded straight onto the GPU: the same weights, and the same random numbers for the adapter."""

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from core.engine.workers.directions import directions
from core.engine.workers.early_card import compute, load_onto_card, make_ready, warm_up, weights, widths
from tests.core.engine.workers.tiny import llama


def test_the_weights_that_a_config_names(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x")
    (tmp_path / "config.json").write_text("{}")
    config = f"path = '{tmp_path}'\nother = '{tmp_path}/nowhere'\nword = 'relative'\n"
    assert weights(config) == [tmp_path / "model.safetensors"]
    make_ready(config, 0).join(20)


SIZES = '{"hidden_size": 24, "intermediate_size": 40}'


def test_nothing_is_warmed_up_without_a_gpu_or_without_a_model(tmp_path, monkeypatch):
    config = f"path = '{tmp_path}'"
    (tmp_path / "config.json").write_text(SIZES)
    assert list(widths(config)) == [(24, 40)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert warm_up(config, 0) is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for unfit in ("[]", "{", "{}", '{"hidden_size": null}'):
        (tmp_path / "config.json").write_text(unfit)
        assert warm_up(config, 0) is None


def test_a_gpu_that_fails_while_it_is_warmed_up_stops_nothing(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(SIZES)
    asked = []

    def device(rank):
        asked.append(rank)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", device)
    thread = warm_up(f"path = '{tmp_path}'", 3)
    thread.join(20)
    assert not thread.is_alive()
    assert asked == [3]


def test_what_it_computes_is_what_aims_an_adapter_and_draws_no_random_numbers():
    """On a GPU it would be another generator's; here a processor stands for it."""
    asked = []

    def solved(*given):
        asked.append(directions(*given))
        return asked[-1]

    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    compute("cpu", 24, 40, solved)
    assert torch.equal(torch.rand(4), expected)
    assert asked[0].shape == (2, 16, 24)
    assert torch.isfinite(asked[0]).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("words", "options", "placed"),
    [([], {}, True), (["--deepspeed", "deepspeed_zero2"], {}, False), ([], {"device_map": None}, True)],
)
def test_straight_onto_the_gpu_with_the_same_random_numbers(tmp_path, monkeypatch, words, options, placed):
    llama().save_pretrained(tmp_path)
    monkeypatch.setattr(PreTrainedModel, "from_pretrained", vars(PreTrainedModel)["from_pretrained"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # Stands for the number of a GPU.
    monkeypatch.setattr(torch.cuda, "current_device", lambda: "cpu")
    torch.manual_seed(3)
    expected, drawn = AutoModelForCausalLM.from_pretrained(tmp_path), torch.rand(4)
    load_onto_card(words)
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, **options)
    assert torch.equal(torch.rand(4), drawn)
    assert hasattr(model, "hf_device_map") == placed
    for one, other in zip(expected.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_quantized_weights_go_their_own_way(monkeypatch):
    given = []
    monkeypatch.setattr(PreTrainedModel, "from_pretrained", classmethod(lambda _cls, **options: given.append(options)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    load_onto_card([])
    PreTrainedModel.from_pretrained(quantization_config={"load_in_4bit": True})
    assert given == [{"quantization_config": {"load_in_4bit": True}}]
