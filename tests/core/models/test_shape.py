"""Which linear layers a model has, by the headers of its weights."""

import pytest
import torch
from safetensors.torch import save_file

from core.config import keeping
from core.models.model import Model
from core.models.shape import layers, readers

LLAMA = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")  # fmt: skip
INTERNLM2 = ("attention.wqkv", "attention.wo", "feed_forward.w1", "feed_forward.w3", "feed_forward.w2")
GPT_NEOX = ("attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")

OPT = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2")
MIXTURE = ("self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "block_sparse_moe.gate", "block_sparse_moe.experts.0.w1", "block_sparse_moe.experts.0.w2", "block_sparse_moe.experts.0.w3")  # fmt: skip


def weights(path, names):
    tensors = {f"model.layers.{n}.{name}.weight": torch.zeros(4, 4) for n in range(2) for name in names}
    tensors |= {f"model.{name}.weight": torch.zeros(6, 4) for name in ("embed_tokens", "output")}
    save_file(tensors, path / "model.safetensors")


@pytest.mark.parametrize(
    ("names", "reading"),
    [
        (LLAMA, ("gate_proj", "up_proj")),
        (INTERNLM2, ("w1", "w3")),
        (GPT_NEOX, ("dense_h_to_4h",)),
        (OPT, ("fc1",)),
        # Not every expert sees a token, attention does.
        (MIXTURE, ("gate", "q_proj", "v_proj", "w1", "w3")),
    ],
)
def test_the_feed_forward_layers_that_read_the_hidden_state(tmp_path, names, reading):
    weights(tmp_path, names)
    assert len(layers(tmp_path)) == 2 * len(names)
    assert readers(tmp_path) == reading
    model = Model(name="m", path=tmp_path, parameters=500_000_000)
    assert [(edit.path, edit.value) for edit in keeping.edits(model)] == [("model.lora.target_modules", list(reading))]


def test_without_headers_all_layers_stay(tmp_path):
    assert readers(tmp_path) == ()
    assert not list(keeping.edits(Model(name="m", path=tmp_path, parameters=500_000_000)))
