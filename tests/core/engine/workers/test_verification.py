"""Errors of a merged model are found from its tensors: their origin, whether they are numbers, their precision."""

import json

import pytest
import torch
from safetensors.torch import save_file

from core.engine.workers import verification
from core.engine.workers.verification import explain
from tests.core.engine.workers.tiny import llama, lora

QUERY, NORM = "model.layers.1.self_attn.q_proj.weight", "model.norm.weight"
# alpha / rank of the adapter.
SCALE = 2.0
CLOSE = float(torch.finfo(torch.float32).eps)


@pytest.fixture
def plan(tmp_path):
    """Base model and adapter on disk; the test writes the merged model."""
    model = llama()
    adapter = lora(model)
    for name in ("base", "adapter", "merged"):
        (tmp_path / name).mkdir()
    save_file(tensors_of(model), tmp_path / "base" / "model.safetensors")
    save_file(adapter.tensors, tmp_path / "adapter" / "adapter_model.safetensors")
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(adapter.settings))
    return {"kind": "lora", **{name: str(tmp_path / name) for name in ("base", "adapter", "merged")}}


def tensors_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def merge(adapter=None, scale=SCALE, model=None):
    tensors = tensors_of(model or llama())
    for name, (a, b) in (adapter or lora(llama())).pairs.items():
        tensors[name] += scale * (b @ a)
    return tensors


def causes(plan, tensors, **made):
    save_file(tensors, f"{plan['merged']}/model.safetensors")
    return explain(plan, made)


def test_nothing_is_wrong(plan):
    assert causes(plan, merge()) == []


def test_rounding_is_nothing_wrong(plan):
    tensors = merge()
    tensors[QUERY] *= 1 + CLOSE
    assert causes(plan, tensors) == []
    assert causes(plan, {n: t.half() for n, t in merge().items()}, chosen_dtype="float16") == []


def test_one_value_that_is_off(plan):
    tensors = merge()
    tensors[QUERY][3, 3] += 1e-5
    assert causes(plan, tensors) == [{"kind": "other_adapter", "tensor": QUERY, "count": 1}]


def test_another_adapter_and_another_scale(plan):
    for tensors in (merge(lora(llama(), 7)), merge(scale=1.0)):
        (cause,) = causes(plan, tensors)
        assert (cause["kind"], cause["count"]) == ("other_adapter", 6)


def test_the_base_as_it_was(plan):
    (cause,) = causes(plan, tensors_of(llama()))
    assert (cause["kind"], cause["count"]) == ("not_merged", 6)


def test_an_adapter_of_other_layers(plan):
    tensors = merge()
    tensors["model.layers.0.mlp.up_proj.weight"] += 1.0
    assert causes(plan, tensors) == [
        {"kind": "other_adapter", "tensor": "model.layers.0.mlp.up_proj.weight", "count": 1}
    ]


@pytest.mark.parametrize("name", [NORM, "model.embed_tokens.weight"])
def test_another_base(plan, name):
    tensors = merge()
    tensors[name] += 1.0
    assert causes(plan, tensors) == [{"kind": "wrong_base", "tensor": name, "count": 1}]


def test_a_tensor_that_the_base_has_not(plan):
    tensors = {**merge(), "model.more.weight": torch.ones(3)}
    assert causes(plan, tensors)[0]["kind"] == "wrong_base"


def test_what_is_no_number(plan):
    tensors = {name: tensor.half() for name, tensor in merge().items()}
    tensors[QUERY][0, :3] = torch.inf
    tensors[NORM][0] = torch.nan
    assert causes(plan, tensors, chosen_dtype="float16") == [
        {"kind": "overflow", "tensor": QUERY, "count": 4, "dtype": "float16", "was": "float32"}
    ]


def test_fewer_bits_than_the_base_unless_they_were_chosen(plan):
    tensors = {name: tensor.bfloat16() for name, tensor in merge().items()}
    assert causes(plan, tensors) == [{"kind": "precision", "was": "float32", "dtype": "bfloat16"}]
    assert causes(plan, tensors, chosen_dtype="bfloat16") == []


def test_of_a_full_fine_tune_no_tensor_is_the_bases(plan):
    tensors = {name: tensor + 1 for name, tensor in tensors_of(llama()).items()}
    assert causes({**plan, "kind": "full"}, tensors) == []


@pytest.mark.parametrize(
    ("dtype", "than", "narrower"),
    [
        (torch.float16, torch.float32, True),
        (torch.bfloat16, torch.float16, True),
        # The same number of bits, but a smaller range.
        (torch.float16, torch.bfloat16, True),
        (torch.float32, torch.bfloat16, False),
        (torch.float16, torch.float16, False),
    ],
)
def test_narrower(dtype, than, narrower):
    assert verification._narrower(dtype, than) is narrower


def test_how_far_logits_are_apart():
    one = [torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 3.0]])]
    assert verification._far(one, [torch.tensor([[0.5, 1.0]]), torch.tensor([[2.0, 0.0]])]) == 3.0
    for odd in (torch.nan, torch.inf):
        # Wherever it is: comparisons with NaN are always false.
        assert verification._far(one, [one[0], torch.tensor([[2.0, odd]])]) is None
        assert verification._far(one, [torch.tensor([[odd, 2.0]]), one[1]]) is None


def test_where_answers_part():
    prompt = torch.tensor([[1, 2, 3]])
    # The logits after each position of prompt and answer: the top two differ by 0.5 and, later, by 4.
    logits = torch.tensor([[9.0, 0, 0], [9, 0, 0], [1.0, 0.75, 0], [2, 1.5, 1], [7, 3, 0], [0, 0, 8]])
    assert verification._margin([5, 6, 7], [5, 6, 7], prompt, logits) is None
    assert verification._margin([4, 6, 7], [5, 6, 7], prompt, logits) == 0.25
    assert verification._margin([5, 6, 7], [5, 9, 7], prompt, logits) == 0.5
    # One ends where the other continues.
    assert verification._margin([5, 6], [5, 6, 7], prompt, logits) == 4.0


class Tokenizer:
    pad_token_id, eos_token_id = None, 2


@torch.inference_mode()
def test_the_quick_answers_are_those_of_generate():
    prompts = [torch.tensor([ids]) for ids in ([1, 5, 9, 3, 7], [1, 40], [1, 8, 8, 30])]
    slow = verification._generated(llama(), prompts, [2], Tokenizer)
    # Two end tokens, at different positions.
    ends = [2, slow[0][3], slow[1][7]]
    slow = verification._generated(llama(), prompts, ends, Tokenizer)
    assert len({len(answer) for answer in slow}) > 1
    assert verification._written(llama(), prompts, ends) == slow
    short = llama(max_position_embeddings=64)
    assert verification._written(short, prompts, ends) is None
