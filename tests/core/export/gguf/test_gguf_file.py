"""The contents of a GGUF file, read by the `gguf` library: every tensor, the vocabulary, the prompt."""

import json

import numpy
import pytest
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize

from core.export.gguf.families import FAMILIES, family_of
from core.export.gguf.gguf_file import Prompt, size_of, write
from core.export.gguf.tensors import stored, tensors_of
from core.ground.errors import WorkFailed
from core.models.packaged.weights import field, in_order, write_weights
from tests.core.export.gguf import tiny

PROMPT = Prompt(chat_template=tiny.TEMPLATE, begins=False, stops=tuple(tiny.STOPS))


def made(directory, kind="f16", prompt=PROMPT):
    file = directory / f"{kind}.gguf"
    write(directory, file, kind, prompt, "a name", lambda _count: None)
    return GGUFReader(file)


def numbers(reader):
    """Return the tensors by llama.cpp's names, in float32."""
    return {
        one.name: dequantize(one.data, one.tensor_type).reshape([int(n) for n in reversed(one.shape)])
        for one in reader.tensors
    }


def half(tensor):
    return tensor.astype(numpy.float16).astype(numpy.float32) if tensor.ndim > 1 else tensor


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "MistralForCausalLM"])
def test_a_llama_comes_back_as_it_went(tmp_path, architecture):
    """Read by the code that unpacks GGUF files, which does the reverse."""
    given = tiny.write_model(tmp_path / "model", architecture)
    reader, back = made(tmp_path / "model"), tmp_path / "back"
    back.mkdir()
    write_weights(reader, back, lambda _part: None)
    config = json.loads((back / "config.json").read_text())
    wanted = {**tiny.SIZES, "head_dim": 16}
    assert {key: config[key] for key in wanted} == pytest.approx(wanted)
    again = {name: read() for name, _shape, read in stored(back)}
    assert again.keys() == given.keys()
    for name, tensor in given.items():
        assert numpy.array_equal(again[name], half(tensor)), name


def test_an_internlm2_is_taken_apart(tmp_path):
    given = tiny.write_model(tmp_path, "InternLM2ForCausalLM")
    found = numbers(made(tmp_path))
    for layer in range(2):
        q, k, v = (found[f"blk.{layer}.attn_{part}.weight"] for part in "qkv")
        # Two groups, each with two queries, a key and a value.
        heads = [in_order(q, 4).reshape(2, 2, 16, 64), in_order(k, 2).reshape(2, 1, 16, 64), v.reshape(2, 1, 16, 64)]
        wqkv = numpy.concatenate(heads, axis=1).reshape(128, 64)
        assert numpy.array_equal(wqkv, half(given[f"model.layers.{layer}.attention.wqkv.weight"]))
        for ours, theirs in (
            ("attn_output", "attention.wo"),
            ("ffn_gate", "feed_forward.w1"),
            ("ffn_down", "feed_forward.w2"),
            ("ffn_up", "feed_forward.w3"),
        ):
            assert numpy.array_equal(
                found[f"blk.{layer}.{ours}.weight"], half(given[f"model.layers.{layer}.{theirs}.weight"])
            )
    assert numpy.array_equal(found["output.weight"], half(given["output.weight"]))
    assert len(found) == 3 + 2 * 9


@pytest.mark.parametrize("architecture", ["Qwen2ForCausalLM", "Phi3ForCausalLM"])
def test_what_llama_cpp_has_in_the_same_order_is_written_as_it_is(tmp_path, architecture):
    given = tiny.write_model(tmp_path, architecture)
    found = numbers(made(tmp_path))
    assert len(found) == len(given)
    # No two tensors are equal, so each is identified by its numbers.
    for name, tensor in given.items():
        assert any(tensor.shape == one.shape and numpy.array_equal(half(tensor), one) for one in found.values()), name


@pytest.mark.parametrize("architecture", ["GemmaForCausalLM", "Gemma2ForCausalLM"])
def test_norms_of_gemma_are_whole(tmp_path, architecture):
    given = tiny.write_model(tmp_path, architecture)
    tiny.write_safetensors(
        tmp_path / "model.safetensors", {**given, "lm_head.weight": given["model.embed_tokens.weight"]}
    )
    found = numbers(made(tmp_path))
    assert numpy.array_equal(found["output_norm.weight"], given["model.norm.weight"] + 1)
    assert numpy.array_equal(found["blk.0.attn_norm.weight"], given["model.layers.0.input_layernorm.weight"] + 1)
    assert numpy.array_equal(found["blk.1.attn_q.weight"], half(given["model.layers.1.self_attn.q_proj.weight"]))
    assert "output.weight" not in found
    assert len(found) == len(given)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_the_figures_of_each_family(tmp_path, architecture):
    tiny.write_model(tmp_path, architecture, sliding_window=77)
    reader = made(tmp_path)
    name = FAMILIES[architecture].name
    assert field(reader, "general.architecture") == name
    assert field(reader, f"{name}.context_length") == 128
    assert field(reader, f"{name}.attention.head_count_kv") == 2
    assert field(reader, f"{name}.attention.key_length") == 16
    assert field(reader, f"{name}.attention.layer_norm_rms_epsilon") == pytest.approx(1e-6)
    window = field(reader, f"{name}.attention.sliding_window")
    assert window == (77 if architecture in ("Gemma2ForCausalLM", "Phi3ForCausalLM") else None)
    assert field(reader, "gemma2.final_logit_softcapping") == (30.0 if architecture == "Gemma2ForCausalLM" else None)


def test_stretched_positions(tmp_path):
    """Llama 3.1's RoPE scaling, with the figures that transformers computes for the same settings; and without."""
    said = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }  # fmt: skip
    tiny.write_model(tmp_path / "llama3", rope_scaling=said)
    divided = numbers(made(tmp_path / "llama3"))["rope_freqs.weight"]
    plain = 1 / 10000 ** (numpy.arange(0, 16, 2) / 16)
    wanted = []
    for frequency in plain:
        length = 2 * numpy.pi / frequency
        if length < 64 / 4:
            wanted.append(1)
        elif length > 64:
            wanted.append(8)
        else:
            smooth = (64 / length - 1) / 3
            wanted.append(1 / ((1 - smooth) / 8 + smooth))
    assert divided == pytest.approx(wanted, rel=1e-5)
    assert {1.0, 8.0} < set(divided.tolist())
    tiny.write_model(tmp_path / "linear", rope_scaling={"type": "linear", "factor": 4.0})
    reader = made(tmp_path / "linear")
    assert field(reader, "llama.rope.scaling.type") == "linear"
    assert field(reader, "llama.rope.scaling.factor") == 4.0
    assert "rope_freqs.weight" not in numbers(reader)


def test_quantised_to_half_the_size(tmp_path):
    given = tiny.write_model(tmp_path, intermediate_size=90)
    # Not a multiple of the block size 32: it remains in half precision.
    given |= {"model.layers.0.mlp.down_proj.weight": given["model.layers.0.mlp.down_proj.weight"][:, :90]}
    tiny.write_safetensors(tmp_path / "model.safetensors", given)
    reader = made(tmp_path, "q8_0")
    found, kinds = numbers(reader), {one.name: one.tensor_type for one in reader.tensors}
    assert kinds["blk.0.ffn_down.weight"] == GGMLQuantizationType.F16
    assert kinds["blk.1.ffn_down.weight"] == GGMLQuantizationType.Q8_0
    assert kinds["output_norm.weight"] == GGMLQuantizationType.F32
    up = given["model.layers.0.mlp.up_proj.weight"]
    assert 0 < numpy.abs(found["blk.0.ffn_up.weight"] - up).max() < numpy.abs(up).max() / 127
    config = json.loads((tmp_path / "config.json").read_text())
    tensors = tensors_of(tmp_path, config, family_of(config))
    assert size_of(tensors, "q8_0") == sum(one.n_bytes for one in reader.tensors)
    assert size_of(tensors, "f16") > 1.7 * size_of(tensors, "q8_0")


def test_a_model_in_bfloat16(tmp_path):
    given = tiny.write_model(tmp_path)
    tiny.write_safetensors(tmp_path / "model.safetensors", given, "BF16")
    upper = (given["model.norm.weight"].view(numpy.uint32) & 0xFFFF0000).view(numpy.float32)
    assert numpy.array_equal(numbers(made(tmp_path))["output_norm.weight"], upper)


def test_how_it_is_asked_and_where_it_stops(tmp_path):
    tiny.write_model(tmp_path)
    reader = made(tmp_path)
    assert field(reader, "tokenizer.chat_template") == tiny.TEMPLATE
    assert field(reader, "tokenizer.ggml.eos_token_id") == 3
    assert field(reader, "tokenizer.ggml.eot_token_id") == 4
    assert field(reader, "tokenizer.ggml.bos_token_id") == 1
    assert field(reader, "tokenizer.ggml.add_bos_token") is False
    tokens, kinds = field(reader, "tokenizer.ggml.tokens"), field(reader, "tokenizer.ggml.token_type")
    assert (len(tokens), tokens[3], tokens[299]) == (300, "<|im_end|>", "[PAD299]")
    assert (kinds[3], kinds[6], kinds[299]) == (3, 1, 5)
    assert field(reader, "tokenizer.ggml.merges") == ["h e", "l l", "he ll"]
    assert field(reader, "tokenizer.ggml.pre") == "smollm"


@pytest.mark.parametrize(("begins", "said", "wanted"), [(True, None, True), (None, True, True), (None, None, False), (False, True, False)])  # fmt: skip
def test_whether_a_text_begins_with_the_bos(tmp_path, begins, said, wanted):
    """Like the trained prompt; if no prompt was trained, as the tokenizer says."""
    tiny.write_model(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "add_bos_token": said}))
    reader = made(tmp_path, prompt=Prompt(chat_template=None, begins=begins, stops=(2,)))
    assert field(reader, "tokenizer.ggml.add_bos_token") is wanted
    assert field(reader, "tokenizer.chat_template") is None


def test_what_float16_cannot_hold_is_refused(tmp_path):
    given = tiny.write_model(tmp_path)
    given["model.layers.1.mlp.up_proj.weight"][0, 0] = 70000.0
    tiny.write_safetensors(tmp_path / "model.safetensors", given)
    with pytest.raises(WorkFailed, match=r"blk\.1\.ffn_up\.weight"):
        made(tmp_path)


@pytest.mark.parametrize(("name", "dtype", "said"), [("model.layers.0.router.weight", "F32", "router"), ("model.norm.weight", "I8", "I8")])  # fmt: skip
def test_a_tensor_without_a_place_is_refused_before_anything_is_written(tmp_path, name, dtype, said):
    given = tiny.write_model(tmp_path)
    if dtype == "F32":
        tiny.write_safetensors(tmp_path / "model.safetensors", {**given, name: given["model.norm.weight"]})
    else:
        content = (tmp_path / "model.safetensors").read_bytes().replace(b'"dtype": "F32"', b'"dtype": "I8" ')
        (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(WorkFailed, match=said):
        made(tmp_path)
    assert not list(tmp_path.glob("*.gguf"))


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
@pytest.mark.parametrize("wrong", [numpy.nan, numpy.inf])
def test_what_is_no_number_is_refused(tmp_path, kind, wrong):
    given = tiny.write_model(tmp_path)
    given["lm_head.weight"][7, 3] = wrong
    tiny.write_safetensors(tmp_path / "model.safetensors", given)
    with pytest.raises(WorkFailed, match="output.weight has NaN or infinite weights"):
        made(tmp_path, kind)
