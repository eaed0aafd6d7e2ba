"""Converts a GGUF file's tensors to a Hugging Face directory: names, order of rows, float32. Only for Llama models."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
from gguf import GGUFReader
from gguf.quants import dequantize

from core.ground.errors import WorkFailed
from core.ground.files import write_json

# Tensor names: llama.cpp's on the left, transformers' (`LlamaForCausalLM`) on the right.
_WHOLE = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_OF_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_BLOCK = re.compile(r"blk\.(\d+)\.(\w+)\.weight")


def field(reader: GGUFReader, name: str, default: Any = None) -> Any:
    """Return one of the file's metadata fields; `default` if it is missing."""
    found = reader.get_field(name)
    return default if found is None else found.contents()


def write_weights(reader: GGUFReader, directory: Path, on_done: Callable[[float], None]) -> int:
    """Write `model.safetensors` and `config.json`; return the number of parameters. Raises WorkFailed if not Llama."""
    architecture = field(reader, "general.architecture")
    if architecture != "llama":
        raise WorkFailed(
            f"GGUF 文件的结构是 {architecture}，只会转换 llama",
            f"the GGUF file contains a {architecture} model, not a llama model",
        )
    named = {_name(tensor.name): tensor for tensor in reader.tensors}
    heads = {
        "self_attn.q_proj": int(field(reader, "llama.attention.head_count")),
        "self_attn.k_proj": int(field(reader, "llama.attention.head_count_kv")),
    }
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    total = 0
    for name, tensor in named.items():
        # GGUF lists dimensions from the innermost to the outermost.
        shape = [int(size) for size in reversed(tensor.shape)]
        size = 4 * int(numpy.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [total, total + size]}
        total += size
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    written = 0
    with (directory / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for name, tensor in named.items():
            values = dequantize(tensor.data, tensor.tensor_type).astype("<f4", copy=False)
            values = values.reshape(header[name]["shape"])
            count = next((heads[part] for part in heads if part in name), None)
            file.write(memoryview(numpy.ascontiguousarray(in_order(values, count) if count else values)).cast("B"))
            written += values.nbytes
            on_done(written / total)
    write_json(directory / "config.json", _config(reader, named))
    return total // 4


def in_order(rows: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Reorder the rows of a query or key projection as in transformers.

    llama.cpp interleaves the two halves of each head that the rotary embedding rotates together.
    """
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def _name(theirs: str) -> str:
    layer = _BLOCK.fullmatch(theirs)
    if layer and layer[2] in _OF_LAYER:
        return f"model.layers.{layer[1]}.{_OF_LAYER[layer[2]]}.weight"
    whole = theirs.removesuffix(".weight")
    if whole not in _WHOLE:
        raise WorkFailed(f"GGUF 文件里有不认识的张量 {theirs}", f"the GGUF file has an unknown tensor: {theirs}")
    return f"{_WHOLE[whole]}.weight"


def _config(reader: GGUFReader, named: dict[str, Any]) -> dict[str, Any]:
    """Return config.json: the architecture in the file's metadata, in transformers' terms."""
    heads = int(field(reader, "llama.attention.head_count"))
    hidden = int(field(reader, "llama.embedding_length"))
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": int(field(reader, "llama.feed_forward_length")),
        "num_hidden_layers": int(field(reader, "llama.block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(field(reader, "llama.attention.head_count_kv", heads)),
        "head_dim": int(field(reader, "llama.rope.dimension_count", hidden // heads)),
        "max_position_embeddings": int(field(reader, "llama.context_length")),
        "rms_norm_eps": float(f"{field(reader, 'llama.attention.layer_norm_rms_epsilon'):.3g}"),
        "rope_theta": float(field(reader, "llama.rope.freq_base", 10000.0)),
        "rope_scaling": None,
        "vocab_size": next(int(t.shape[-1]) for name, t in named.items() if name == "model.embed_tokens.weight"),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": "lm_head.weight" not in named,
        "bos_token_id": field(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": field(reader, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": field(reader, "tokenizer.ggml.padding_token_id"),
        "use_cache": True,
        "torch_dtype": "float32",
    }
