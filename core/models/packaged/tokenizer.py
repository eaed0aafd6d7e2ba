"""Converts the tokenizer of a GGUF file to `tokenizer.json`: GPT-2's byte-level BPE in llama.cpp's variant `smollm`.

Converted from the file's own tables, because generic converters take it for a Llama tokenizer: that adds a BOS token to
every text and keeps numbers whole, while the model was trained without BOS and on single digits.
"""

from pathlib import Path
from typing import Any

from gguf import GGUFReader, TokenType

from core.ground.errors import WorkFailed
from core.ground.files import write_json
from core.models.packaged.weights import field

# llama.cpp's name of the pre-tokenizer, and whether it splits numbers into digits.
_DIGITS = {"smollm": True, "gpt-2": False}


def write_tokenizer(reader: GGUFReader, directory: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json. Raises WorkFailed for any other kind of tokenizer."""
    model, cut = field(reader, "tokenizer.ggml.model"), field(reader, "tokenizer.ggml.pre")
    if model != "gpt2" or cut not in _DIGITS:
        raise WorkFailed(
            f"GGUF 文件的分词器是 {model}（{cut}），只会转换 gpt2（{'、'.join(_DIGITS)}）",
            f"the GGUF file's tokenizer is {model} ({cut}), not gpt2 ({', '.join(_DIGITS)})",
        )
    tokens = field(reader, "tokenizer.ggml.tokens")
    kinds = field(reader, "tokenizer.ggml.token_type")
    special = [number for number, kind in enumerate(kinds) if kind == TokenType.CONTROL]
    write_json(directory / "tokenizer.json", _backend(reader, tokens, special, digits=_DIGITS[cut]))
    write_json(directory / "tokenizer_config.json", _settings(reader, tokens, special))


def _backend(reader: GGUFReader, tokens: list[str], special: list[int], *, digits: bool) -> dict[str, Any]:
    """Return the content of tokenizer.json, for the tokenizers library."""
    by_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    steps = [{"type": "Digits", "individual_digits": True}] if digits else []
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, **_added(tokens[number])} for number in special],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*steps, by_bytes]},
        "post_processor": None,
        "decoder": {**by_bytes, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": field(reader, "tokenizer.ggml.merges"),
        },
    }


def _settings(reader: GGUFReader, tokens: list[str], special: list[int]) -> dict[str, Any]:
    """Return the content of tokenizer_config.json, for transformers: special tokens by role, and the chat template."""

    def token(part: str) -> str | None:
        number = field(reader, f"tokenizer.ggml.{part}_token_id")
        return None if number is None else tokens[number]

    parts = {
        part: token(name) for part, name in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
    }
    return {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "added_tokens_decoder": {str(number): _added(tokens[number]) for number in special},
        "additional_special_tokens": [
            tokens[number] for number in special if tokens[number] in (parts["bos"], parts["eos"])
        ],
        **{f"{part}_token": text for part, text in parts.items() if text is not None},
        "chat_template": field(reader, "tokenizer.chat_template"),
        "clean_up_tokenization_spaces": False,
        "model_max_length": int(field(reader, "llama.context_length")),
    }


def _added(token: str) -> dict[str, Any]:
    return {
        "content": token,
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
        "special": True,
    }
