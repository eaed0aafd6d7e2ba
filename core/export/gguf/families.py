"""Which models can be converted to GGUF, decided from their small files before anything is written; llama.cpp's names.

The names of tensors come from the `gguf` library; `tensors` converts the numbers, `vocabulary` the tokenizer.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.export.gguf.vocabulary import kind_of
from core.ground.files import read_json
from core.ground.text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """An architecture of transformers as llama.cpp represents it.

    `name`: llama.cpp's name. `turned`: queries and keys are reordered, because llama.cpp's rotary embedding rotates
    adjacent pairs and transformers' rotates halves. `fused`: queries, keys and values share one tensor, head by head.
    `norms_from_one`: norms are stored as an offset to 1. `tied`: the head is always the embedding. `windowed`:
    attention is limited to a sliding window.
    """

    name: str
    turned: bool = False
    fused: bool = False
    norms_from_one: bool = False
    tied: bool = False
    windowed: bool = False


FAMILIES = {
    "LlamaForCausalLM": Family(name="llama", turned=True),
    "MistralForCausalLM": Family(name="llama", turned=True),
    "InternLM2ForCausalLM": Family(name="internlm2", turned=True, fused=True),
    "Qwen2ForCausalLM": Family(name="qwen2"),
    "GemmaForCausalLM": Family(name="gemma", norms_from_one=True, tied=True),
    "Gemma2ForCausalLM": Family(name="gemma2", norms_from_one=True, tied=True, windowed=True),
    "Phi3ForCausalLM": Family(name="phi3", windowed=True),
}
# Supported kinds of RoPE scaling. `dynamic` only scales texts longer than those the model was trained on.
_STRETCHES = (None, "default", "dynamic", "linear", "llama3")


def family_of(config: dict[str, Any]) -> Family | None:
    """Return the family for a model's config.json; None if it is not supported."""
    named = config.get("architectures")
    return FAMILIES.get(named[0]) if isinstance(named, list) and named else None


def stretch_of(config: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Return the name of a model's RoPE scaling and its parameters."""
    said = config.get("rope_scaling")
    said = said if isinstance(said, dict) else {}
    return said.get("rope_type", said.get("type")), said


def refusal(directory: Path) -> Text | None:
    """Return why the model in `directory` cannot be converted and what to do instead; None if it can."""
    config = read_json(directory / "config.json") or {}
    if family_of(config) is None:
        architecture = (config.get("architectures") or ["?"])[0]
        known = [name.removesuffix("ForCausalLM") for name in FAMILIES]
        return Text(
            f"这里不会把 {architecture} 转换成 GGUF（会：{'、'.join(known)}）："
            "合并后的模型可以用 llama.cpp 的 convert_hf_to_gguf.py 转换，它认识更多结构",
            f"{architecture} cannot be converted to GGUF here (supported: {', '.join(known)}): run llama.cpp's own convert_hf_to_gguf.py, which supports more architectures, on the merged model",
        )
    stretch, _ = stretch_of(config)
    if stretch not in _STRETCHES:
        return Text(
            f"config.json 的 rope_scaling 是 {stretch}，这里不会写进 GGUF：用 llama.cpp 的 convert_hf_to_gguf.py 转换合并后的模型",
            f"rope_scaling in config.json is {stretch}, which is not supported here: run llama.cpp's own convert_hf_to_gguf.py on the merged model",
        )
    kind = kind_of(directory)
    return kind if isinstance(kind, Text) else None
