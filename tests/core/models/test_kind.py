"""Complete models that cannot be trained, and unusual ones that can."""

import json
from pathlib import Path

import pytest

from core.engine.architectures import Architectures, architectures
from core.ground.errors import BadInput
from core.models import model as models
from core.models.kind import misfit
from tests.fakes.model import write_model, write_safetensors

KNOWN = Architectures(
    version="4.48.0",
    types=frozenset({"llama", "qwen2", "bert", "t5", "qwen2_vl", "whisper", "gpt2"}),
    causal=frozenset({"LlamaForCausalLM", "Qwen2ForCausalLM", "BertLMHeadModel", "GPT2LMHeadModel"}),
)
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
# The content of config.json, and words that the reason must contain.
UNFIT = {
    "gptq": (LLAMA | {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "GPTQ"),
    "awq": (LLAMA | {"quantization_config": {"quant_method": "awq"}}, "AWQ"),
    "fp8": (LLAMA | {"quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic"}}, "FP8"),
    "compressed": (LLAMA | {"compression_config": {"format": "pack-quantized"}}, "quantized"),
    "of a method nobody knows": (LLAMA | {"quantization_config": {"quant_method": "new_one"}}, "new_one"),
    "mlx": (LLAMA | {"quantization": {"group_size": 64, "bits": 4}}, "quantized"),
    "vision": ({"architectures": ["Qwen2VLForConditionalGeneration"], "model_type": "qwen2_vl"}, "vision"),
    "vision by its parts": (LLAMA | {"vision_config": {}}, "vision"),
    "vision newer than the engine": ({"architectures": ["NewVLForCausalLM"], "model_type": "new_vl"}, "vision"),
    "embedding": ({"architectures": ["BertModel"], "model_type": "bert"}, "causal language model"),
    "embedding on a language model": (
        {"architectures": ["Qwen2Model"], "model_type": "qwen2"},
        "causal language model",
    ),
    "classifier": ({"architectures": ["BertForSequenceClassification"], "model_type": "bert"}, "classifier"),
    "reward": ({"architectures": ["LlamaForSequenceClassification"], "model_type": "llama"}, "reward"),
    "masked": ({"architectures": ["BertForMaskedLM"], "model_type": "bert"}, "masked"),
    "translation": (
        {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "is_encoder_decoder": True},
        "encoder-decoder",
    ),
    "speech": ({"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"}, "speech"),
    "newer than the engine": ({"architectures": ["Qwen9ForCausalLM"], "model_type": "qwen9"}, "qwen9"),
    "no type": ({"architectures": ["LlamaForCausalLM"]}, "model_type"),
}
FIT = {
    "llama": LLAMA,
    "gpt2": {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"},
    "own code": {
        "architectures": ["InternLM2ForCausalLM"],
        "model_type": "internlm2",
        "auto_map": {"AutoConfig": "c.C", "AutoModelForCausalLM": "m.M"},
    },
    "own code of another name": {
        "architectures": ["ChatGLMModel"],
        "model_type": "chatglm",
        "auto_map": {"AutoConfig": "c.C", "AutoModel": "m.M", "AutoModelForCausalLM": "m.M"},
    },
    "no classes named": {"model_type": "llama"},
    "no quantisation after all": LLAMA | {"quantization_config": None},
}


@pytest.mark.parametrize("name", UNFIT)
def test_cannot_be_trained(tmp_path, name):
    config, word = UNFIT[name]
    found = misfit(tmp_path, config, KNOWN)
    assert found is not None
    assert found.severity == "error"
    assert word in found.message.en
    assert found.message.zh and found.hint.zh and found.hint.en


@pytest.mark.parametrize("name", FIT)
def test_can_be_trained(tmp_path, name):
    assert misfit(tmp_path, FIT[name], KNOWN) is None


def test_hostile_values_are_no_reason_to_fall_over(tmp_path):
    for config in ({"architectures": 7, "model_type": ["x"]}, {"architectures": [None, {}], "auto_map": "x"}, {}):
        misfit(tmp_path, config, KNOWN)
        misfit(tmp_path, config, None)


@pytest.mark.parametrize(
    "tensor", ["model.layers.0.q_proj.qweight", "layers.0.mlp.weight_packed", "a.weight_scale_inv"]
)
def test_packed_weights_are_seen_in_their_headers(tmp_path, tensor):
    write_safetensors(tmp_path / "model.safetensors", {tensor: [2, 2]})
    assert misfit(tmp_path, LLAMA, KNOWN) is not None


def test_the_unquantised_model_is_named(tmp_path):
    for name in ("Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen2.5-7B-Instruct-AWQ", "Qwen2.5-7B-Instruct-bnb-4bit"):
        (tmp_path / name).mkdir()
        found = misfit(tmp_path / name, LLAMA | {"quantization_config": {"quant_method": "x"}}, KNOWN)
        assert "(Qwen2.5-7B-Instruct)" in found.hint.en, name


def test_what_this_engine_knows(workspace):
    known = architectures(workspace)
    assert {"llama", "qwen2", "gemma2", "phi3"} <= known.types
    assert "qwen3" not in known.types
    assert {"LlamaForCausalLM", "Qwen2ForCausalLM", "GlmForCausalLM"} <= known.causal
    assert architectures(workspace) is known, "read once"


def test_linked_and_said_and_not_usable(workspace, tmp_path):
    directory: Path = write_model(tmp_path / "chat-AWQ")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "awq"}}))
    linked = models.link(workspace, directory)
    assert (linked.whole, linked.trainable) == (True, False)
    told = linked.to_json()
    assert told["trainable"] is False
    assert [problem["where"] for problem in told["problems"]] == ["quantization_config"]
    with pytest.raises(BadInput, match="AWQ"):
        models.usable(workspace, "chat-AWQ")
