"""Models of a few kilobytes with the tensors of real families and random numbers, created with numpy only."""

import json
import struct
from pathlib import Path

import numpy

STOPS = [3, 4]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "vocab_size": 300,
}  # fmt: skip
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
SMOLLM = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL]}
# Per layer and family: each name with its shape.
_LLAMA = {
    "input_layernorm": (64,), "self_attn.q_proj": (64, 64), "self_attn.k_proj": (32, 64), "self_attn.v_proj": (32, 64),
    "self_attn.o_proj": (64, 64), "post_attention_layernorm": (64,), "mlp.gate_proj": (96, 64), "mlp.up_proj": (96, 64),
    "mlp.down_proj": (64, 96),
}  # fmt: skip
_INTERNLM2 = {
    "attention_norm": (64,), "attention.wqkv": (128, 64), "attention.wo": (64, 64), "ffn_norm": (64,),
    "feed_forward.w1": (96, 64), "feed_forward.w3": (96, 64), "feed_forward.w2": (64, 96),
}  # fmt: skip
_PHI3 = {
    "input_layernorm": (64,), "self_attn.qkv_proj": (128, 64), "self_attn.o_proj": (64, 64),
    "post_attention_layernorm": (64,), "mlp.gate_up_proj": (192, 64), "mlp.down_proj": (64, 96),
}  # fmt: skip
_GEMMA2 = {**_LLAMA, "pre_feedforward_layernorm": (64,), "post_feedforward_layernorm": (64,)}
LAYERS = {
    "LlamaForCausalLM": _LLAMA, "MistralForCausalLM": _LLAMA, "Qwen2ForCausalLM": _LLAMA, "GemmaForCausalLM": _LLAMA,
    "InternLM2ForCausalLM": _INTERNLM2, "Phi3ForCausalLM": _PHI3, "Gemma2ForCausalLM": _GEMMA2,
}  # fmt: skip


def tensors_of(architecture: str) -> dict[str, numpy.ndarray]:
    """Return the tensors of a model, by transformers' names."""
    random = numpy.random.default_rng(0)
    embeddings, head = ("tok_embeddings", "output") if "InternLM2" in architecture else ("embed_tokens", "lm_head")
    shapes = {f"model.{embeddings}.weight": (300, 64), "model.norm.weight": (64,)}
    if "Gemma" not in architecture:
        shapes[f"{head}.weight"] = (300, 64)
    for layer in range(SIZES["num_hidden_layers"]):
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in LAYERS[architecture].items()}
        if "Qwen2" in architecture:
            biases = {"q_proj": (64,), "k_proj": (32,), "v_proj": (32,)}
            shapes |= {f"model.layers.{layer}.self_attn.{name}.bias": shape for name, shape in biases.items()}
    return {name: random.normal(size=shape).astype(numpy.float32) for name, shape in shapes.items()}


def write_safetensors(file: Path, tensors: dict[str, numpy.ndarray], dtype: str = "F32") -> None:
    """Write the tensors as one safetensors file; as BF16, only their upper halves."""
    header, blobs, end = {"__metadata__": {"format": "pt"}}, [], 0
    for name, tensor in tensors.items():
        raw = tensor.tobytes() if dtype == "F32" else (tensor.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [end, end + len(raw)]}
        blobs.append(raw)
        end += len(raw)
    encoded = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(encoded)) + encoded + b"".join(blobs))


def write_tokenizer(directory: Path, cut: dict = SMOLLM, **model: object) -> None:
    """Write a byte-level BPE with the 256 bytes, five special tokens and a few merged ones."""
    letters = [chr(n) for n in [*range(33, 127), *range(161, 173), *range(174, 256)]]
    letters += [chr(256 + n) for n in range(256 - len(letters))]
    special = ["<unk>", "<s>", "</s>", "<|im_end|>", "<|endoftext|>", "<|im_start|>"]
    vocab = {token: number for number, token in enumerate([*special, *letters, "he", "ll", "hell"])}
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": number, "content": token, "special": True, **plain} for number, token in enumerate(special)]
    content = {
        "added_tokens": added, "normalizer": None, "pre_tokenizer": cut, "post_processor": None,
        "model": {"type": "BPE", "vocab": vocab, "merges": [["h", "e"], ["l", "l"], ["he", "ll"]], **model},
    }  # fmt: skip
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "chat_template": TEMPLATE}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def write_model(directory: Path, architecture: str = "LlamaForCausalLM", **config: object) -> dict[str, numpy.ndarray]:
    """Fill `directory`, which may exist; return the tensors written."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.safetensors"):
        old.unlink()
    more = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0} if "Gemma2" in architecture else {}
    content = {"architectures": [architecture], **SIZES, **more, **config}
    (directory / "config.json").write_text(json.dumps(content), encoding="utf-8")
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": STOPS}), encoding="utf-8")
    write_tokenizer(directory)
    tensors = tensors_of(architecture)
    write_safetensors(directory / "model.safetensors", tensors)
    return tensors
