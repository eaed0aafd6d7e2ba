"""Tokenizers supported by llama.cpp, and unsupported ones."""

import io
import json

import pytest
import sentencepiece

from core.export.gguf import vocabulary
from core.export.gguf.vocabulary import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, Kind, kind_of, read
from core.ground.text import Text
from tests.core.export.gguf import tiny

WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def split(pattern, behavior="Isolated"):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}


def in_turn(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


PLAIN = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
BYTES = {**PLAIN, "use_regex": False}


@pytest.mark.parametrize(
    ("cut", "model", "name"),
    [
        (tiny.SMOLLM, {}, "smollm"),
        (PLAIN, {}, "gpt-2"),
        (in_turn(split(r"\p{Han}"), PLAIN), {}, "gpt-2"),
        (in_turn(split(WORDS % r"\p{N}"), BYTES), {}, "qwen2"),
        (in_turn(split(WORDS % r"\p{N}{1,3}"), BYTES), {}, "smaug-bpe"),
        (in_turn(split(WORDS % r"\p{N}{1,3}"), BYTES), {"ignore_merges": True}, "llama-bpe"),
    ],
)
def test_how_text_is_cut(tmp_path, cut, model, name):
    tiny.write_tokenizer(tmp_path, cut, **model)
    assert kind_of(tmp_path) == Kind(model="gpt2", cut=name)


@pytest.mark.parametrize(
    ("cut", "model", "said"),
    [
        (in_turn(split(WORDS % r"\p{N}"), PLAIN), {}, "Split + ByteLevel"),
        (in_turn(split(WORDS % r"\p{N}", "Removed"), BYTES), {}, "Split"),
        (in_turn(split(r"\d+"), BYTES), {}, "Split"),
        (in_turn({"type": "Digits", "individual_digits": False}, PLAIN), {}, "Digits"),
        ({**PLAIN, "add_prefix_space": True}, {}, "ByteLevel"),
        ({"type": "Metaspace"}, {}, "Metaspace"),
        (None, {}, "-"),
        (PLAIN, {"type": "WordPiece"}, "WordPiece"),
    ],
)
def test_what_is_refused(tmp_path, cut, model, said):
    tiny.write_tokenizer(tmp_path, cut, **model)
    refused = kind_of(tmp_path)
    assert isinstance(refused, Text)
    assert f"({said}" in refused.en
    assert f"（{said}" in refused.zh


def sentences(kind):
    """A small model created by SentencePiece itself."""
    held = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["hello there", "hell is other people", "你是谁", "我是小助手"] * 20),
        model_writer=held, model_type=kind, vocab_size=330 if kind == "bpe" else 300, byte_fallback=True, minloglevel=2,
        character_coverage=1.0, hard_vocab_limit=False, user_defined_symbols=["<tool>"],
    )  # fmt: skip
    return held.getvalue()


def test_sentencepiece(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(sentences("bpe"))
    own = sentencepiece.SentencePieceProcessor(str(tmp_path / "tokenizer.model"))
    settings = {"added_tokens_decoder": {"5": {"content": "<|im_end|>", "special": True}, "999": {"content": "far"}}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    words = read(tmp_path, len(own) + 4)
    assert words.kind == Kind(model="llama", spaced=True)
    for number in range(len(own)):
        if number != 5:
            assert words.tokens[number] == own.IdToPiece(number)
            assert words.scores[number] == pytest.approx(own.GetScore(number))
    assert words.kinds[:4] == [UNKNOWN, CONTROL, CONTROL, USER_DEFINED]
    assert (words.tokens[5], words.kinds[5], words.scores[5]) == ("<|im_end|>", CONTROL, -1000.0)
    assert words.kinds[own.PieceToId("<0x41>")] == BYTE
    assert words.kinds[own.PieceToId("▁hell")] == NORMAL
    assert words.kinds[-4:] == [UNUSED] * 4


def test_sentencepiece_of_another_kind_is_refused(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(sentences("unigram"))
    assert "unigram" in kind_of(tmp_path).en


@pytest.mark.parametrize(
    ("normalizer", "cut", "spaced"),
    [
        ({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}]}, None, True),
        (None, {"type": "Metaspace", "prepend_scheme": "first"}, True),
        (None, {"type": "Metaspace", "prepend_scheme": "never"}, False),
        ({"type": "Replace"}, None, False),
    ],
)
def test_sentencepiece_in_tokenizer_json(tmp_path, normalizer, cut, spaced):
    vocab = {"<unk>": 0, "<0x0A>": 1, "▁": 2, "h": 3, "e": 4, "he": 5, "▁he": 6}
    content = {
        "normalizer": normalizer, "pre_tokenizer": cut,
        "added_tokens": [{"id": 7, "content": "▁tool", "special": False}],
        "model": {"type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "vocab": vocab, "merges": ["h e", "▁ he"]},
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    words = read(tmp_path, 8)
    assert words.kind == Kind(model="llama", spaced=spaced)
    assert words.scores[3:7] == [0, 0, -1, -2]
    assert words.kinds == [UNKNOWN, BYTE, NORMAL, NORMAL, NORMAL, NORMAL, NORMAL, USER_DEFINED]
    # A space in a token that users may type is a space.
    assert words.tokens[7] == " tool"


def test_numbers_are_llama_cpps():
    import gguf

    kinds = {
        name: getattr(vocabulary, name) for name in ("NORMAL", "UNKNOWN", "CONTROL", "USER_DEFINED", "UNUSED", "BYTE")
    }
    assert kinds == {name: getattr(gguf.TokenType, name) for name in kinds}
