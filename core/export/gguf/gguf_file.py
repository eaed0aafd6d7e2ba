"""Writes a merged model as a GGUF file: its hyperparameters, its vocabulary with the trained prompt, its tensors.

Holds one tensor in memory at a time. The file is complete only when `write` returns, so callers pass a `*.partial`
name.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy
from gguf.quants import quantize

from core.export.gguf import vocabulary
from core.export.gguf.families import Family, family_of, stretch_of
from core.export.gguf.precision import FILE_TYPES, bytes_of, precisions
from core.export.gguf.tensors import Tensor, tensors_of
from core.ground.errors import WorkFailed

Quantise = Callable[[numpy.ndarray, gguf.GGMLQuantizationType], numpy.ndarray]
_PARTS = ("bos", "eos", "unk", "pad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """How the model is prompted: the chat template, whether its text begins with BOS, the tokens that end an answer."""

    chat_template: str | None
    begins: bool | None
    stops: tuple[int, ...]


def size_of(tensors: list[Tensor], kind: str) -> int:
    """Return the size of the file without its vocabulary."""
    stored = precisions(tensors, kind)
    return sum(bytes_of(one, stored[one.name]) for one in tensors)


def write(
    directory: Path,
    file: Path,
    kind: str,
    prompt: Prompt,
    name: str,
    on_bytes: Callable[[int], None],
    quantiser: Quantise | None = None,
) -> dict[str, Any]:
    """Write the model in `directory` to `file`; return the number of tensors and llama.cpp's name of the architecture.

    `on_bytes` is called with the bytes written. `q4_k_m` needs a `quantiser`. Raises WorkFailed if a tensor has no name
    in llama.cpp, contains NaN or infinity, or exceeds the range of float16 where it is written as such.
    """
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    family = family_of(config)
    assert family is not None
    tensors = tensors_of(directory, config, family)
    stored = precisions(tensors, kind)
    writer = gguf.GGUFWriter(file, family.name)
    try:
        writer.add_name(name)
        writer.add_file_type(FILE_TYPES[kind])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        _figures(writer, config, family)
        rows = next(one.shape[0] for one in tensors if one.name == "token_embd.weight")
        _words(writer, directory, rows, prompt)
        for one in tensors:
            how = stored[one.name]
            writer.add_tensor_info(one.name, one.shape, numpy.dtype(numpy.float32), bytes_of(one, how), how)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for one in tensors:
            numbers = _stored(one, stored[one.name], quantiser)
            writer.write_tensor_data(numbers)
            on_bytes(numbers.nbytes)
    finally:
        writer.close()
    return {"tensors": len(tensors), "architecture": family.name}


def _stored(tensor: Tensor, stored: gguf.GGMLQuantizationType, quantiser: Quantise | None) -> numpy.ndarray:
    numbers = numpy.ascontiguousarray(tensor.read())
    if not numpy.isfinite(numbers).all():
        raise WorkFailed(
            f"张量 {tensor.name} 里有不是数值的权重（NaN 或无穷大），不能写成 GGUF：降低学习率重新训练",
            f"the tensor {tensor.name} has NaN or infinite weights and cannot be written as GGUF: train again with a lower learning rate",
        )
    if stored == gguf.GGMLQuantizationType.F16 and numpy.abs(numbers).max(initial=0) > numpy.finfo(numpy.float16).max:
        raise WorkFailed(
            f"张量 {tensor.name} 的数值超出了 float16 的范围，不能写成 GGUF：降低学习率重新训练",
            f"the tensor {tensor.name} has values out of range for float16 and cannot be written as GGUF: train again with a lower learning rate",
        )
    if quantiser and stored not in (gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.F32):
        return quantiser(numbers, stored)
    return quantize(numbers, stored)


def _figures(writer: gguf.GGUFWriter, config: dict[str, Any], family: Family) -> None:
    """Write the hyperparameters of the model."""
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float(config.get("rope_theta") or 10000.0))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    stretch, said = stretch_of(config)
    if stretch == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(said["factor"]))
    if family.windowed:
        writer.add_sliding_window(config.get("sliding_window") or 0)
    if family.name == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if family.name == "phi3":
        whole = config.get("original_max_position_embeddings") or config["max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(whole)


def _words(writer: gguf.GGUFWriter, directory: Path, rows: int, prompt: Prompt) -> None:
    """Write the vocabulary, the prompt and the stop tokens as trained."""
    words = vocabulary.read(directory, rows)
    writer.add_vocab_size(rows)
    writer.add_tokenizer_model(words.kind.model)
    writer.add_tokenizer_pre(words.kind.cut)
    writer.add_token_list(words.tokens)
    if words.kind.model == "gpt2":
        writer.add_token_merges(words.merges)
    else:
        writer.add_token_scores(words.scores)
        writer.add_add_space_prefix(words.kind.spaced)
    own = gguf.SpecialVocab(directory, special_token_types=_PARTS, n_vocab=rows)
    tokens, begins = own.special_token_ids, own.add_special_token.get("bos")
    # llama.cpp ends an answer at any of these; their individual names do not matter.
    for part, token in zip(("eos", "eot", "eom"), prompt.stops, strict=False):
        tokens[part] = token
        if words.kinds[token] not in (vocabulary.CONTROL, vocabulary.USER_DEFINED):
            words.kinds[token] = vocabulary.CONTROL
    writer.add_token_types(words.kinds)
    for part, token in tokens.items():
        getattr(writer, f"add_{part}_token_id")(token)
    begins = begins if prompt.begins is None else prompt.begins
    writer.add_add_bos_token(bool(begins) and "bos" in tokens)
    writer.add_add_eos_token(False)
    if prompt.chat_template:
        writer.add_chat_template(prompt.chat_template)
