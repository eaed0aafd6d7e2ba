"""Adapters row by row: only each row's own, as if it were merged into the weights."""

import pytest
import torch
from torch import nn

from core.engine.workers.adapter import PREFIX, Adapter
from core.engine.workers.row_adapters import Layout, RowAdapters, RowLinear
from tests.core.engine.workers.tiny import llama, lora, merged


@pytest.mark.parametrize(
    ("names", "slices"),
    [
        ([], []),
        ([None], []),
        (["a"], [(0, 1, "a")]),
        ([None, "a", "a", "b"], [(1, 3, "a"), (3, 4, "b")]),
        (["a", None, "b", "b"], [(0, 1, "a"), (2, 4, "b")]),
    ],
)
def test_rows_by_adapter(names, slices):
    layout = Layout()
    layout.set(["left from before"])
    layout.set(names)
    assert layout.slices == slices


@torch.no_grad()
def test_a_layer():
    torch.manual_seed(0)
    layout, base = Layout(), nn.Linear(6, 5)
    layer = RowLinear(base, layout)
    a, b = torch.randn(6, 2), torch.randn(2, 5)
    layer.pairs = {"a": (a, b)}
    x = torch.randn(4, 3, 6)
    assert torch.equal(layer(x), base(x))
    layout.set([None, "a", "a", "not on this layer"])
    y = layer(x)
    assert torch.equal(y[[0, 3]], base(x)[[0, 3]])
    torch.testing.assert_close(y[1:3], base(x)[1:3] + x[1:3] @ a @ b)
    assert layer.weight is base.weight
    assert layer.bias is base.bias


@torch.no_grad()
def test_each_row_is_answered_as_by_its_own_merged_model():
    first, second = lora(llama(), 1), lora(llama(), 2, rank=2, use_rslora=True)
    model, ids = llama(), torch.tensor([[1, 5, 9, 3]] * 4)
    adapters = RowAdapters(model)
    adapters.add("first", first)
    adapters.add("second", second)
    adapters.layout.set([None, "first", "second", "second"])
    together = model(input_ids=ids).logits
    alone = [
        llama()(input_ids=ids[:1]).logits,
        merged(llama(), first, 8 / 4)(input_ids=ids[:1]).logits,
        merged(llama(), second, 8 / 2**0.5)(input_ids=ids[:1]).logits,
    ]
    for row, of in enumerate((0, 1, 2, 2)):
        torch.testing.assert_close(together[row], alone[of][0], rtol=1e-3, atol=1e-3)
    assert float((alone[0] - alone[1]).abs().max()) > 0.1
    adapters.remove("first")
    assert adapters.names == ["second"]
    torch.testing.assert_close(model(input_ids=ids).logits[1], alone[0][0], rtol=1e-3, atol=1e-3)


def test_the_precision_is_the_models():
    model = llama().to(torch.bfloat16)
    adapters = RowAdapters(model)
    adapters.add("a", lora(model))
    assert {part.dtype for layer in adapters.layers.values() for pair in layer.pairs.values() for part in pair} == {
        torch.bfloat16
    }


@pytest.mark.parametrize(
    ("name", "shape", "settings", "said"),
    [
        ("model.layers.0.self_attn.q_proj", (32, 31), {}, "the adapter's"),
        ("model.layers.7.self_attn.q_proj", (32, 32), {}, "no linear layer"),
        ("model.layers.0.input_layernorm", (32, 32), {}, "no linear layer"),
        ("model.layers.0.self_attn.q_proj", (32, 32), {"use_dora": True}, "use_dora"),
    ],
)
def test_one_that_does_not_fit_changes_nothing(name, shape, settings, said):
    model = llama()
    good = lora(model).tensors
    wrong = {
        f"{PREFIX}{name}.lora_A.weight": torch.zeros(2, shape[1]),
        f"{PREFIX}{name}.lora_B.weight": torch.zeros(shape[0], 2),
    }
    adapters = RowAdapters(model)
    with pytest.raises(ValueError, match=said):
        adapters.add("wrong", Adapter(settings, {**good, **wrong}))
    assert not adapters.names
    assert not any(isinstance(module, RowLinear) for module in model.modules())
