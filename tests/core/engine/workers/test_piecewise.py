"""Counting by pieces gives the tokenizer's own counts, and is left where it would not."""

import random

import pytest
import regex
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from core.engine.workers import piecewise as module
from core.engine.workers.piecewise import Piecewise, measure, piecewise

QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
CUT = {
    "demo": pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "prefix": pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    ),
    "digits": pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"), pre_tokenizers.Digits(individual_digits=True), BYTES]
    ),
}
OTHERS = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "qwen": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN), "isolated"), BYTES]),
    "spaces": pre_tokenizers.WhitespaceSplit(),
    "merged": pre_tokenizers.Split(Regex(r"\p{Han}"), "merged_with_next"),
    "prefix": pre_tokenizers.ByteLevel(add_prefix_space=True),
    "none": None,
    "unknown": pre_tokenizers.Split(Regex(r"^\p{Han}"), "isolated"),
    "placed": pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"), pre_tokenizers.Metaspace(prepend_scheme="first")]
    ),
}
WORDS = ["的", "模型", "数据", "the", "THE'S", "don't", "x1", "2024", " ", "  ", "\n", "\r\n", "\t", "，", "。", "?!",
         "<|end|>", "<|end|>user", "é", "e\u0301", "\u3000", "😀", "\u200b", "〇", "(", "ok"]  # fmt: skip


def core_of(cut, normalizer=None):
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.normalizer = cut, normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    core.train_from_iterator(["模型的数据 the model's data 2024，don't!\n\n"] * 20, trainer)
    core.add_special_tokens(["<|end|>", "<|end|>user"])
    return core


def texts(count=2000):
    rng = random.Random(1)
    return ["".join(rng.choices(WORDS, k=rng.randrange(20))) for _ in range(count)]


def own(core, found):
    return [len(one) for one in core.encode_batch(found, add_special_tokens=False)]


@pytest.mark.parametrize("normalizer", (None, normalizers.NFC()))
@pytest.mark.parametrize("cut", CUT)
def test_pieces_have_as_many_tokens_as_the_text(cut, normalizer):
    core = core_of(CUT[cut], normalizer)
    found = texts()
    counted = piecewise(core).lengths(found)
    assert all(a in (None, b) for a, b in zip(counted, own(core, found), strict=True))
    assert counted.count(None) < len(found) * 0.9
    assert all(a is not None for text, a in zip(found, counted, strict=True) if text.isascii())


@pytest.mark.parametrize("cut", OTHERS)
def test_a_tokenizer_that_cuts_otherwise_counts_itself(cut):
    assert piecewise(core_of(OTHERS[cut])) is None


def test_one_whose_tokens_come_by_chance_or_of_special_text_counts_itself():
    core = core_of(CUT["demo"])
    assert piecewise(core)
    core.encode_special_tokens = True
    assert piecewise(core) is None
    core.encode_special_tokens = False
    core.model.dropout = 0.1
    assert piecewise(core) is None


def test_a_long_piece_is_counted_and_not_kept():
    core = core_of(CUT["demo"])
    pieces = piecewise(core)
    found = ["的" + "the model " * 30, "数据"]
    assert pieces.lengths(found) == own(core, found) == pieces.lengths(found)
    assert all(len(piece) < 50 for piece in pieces._known)


def test_a_token_that_takes_the_space_beside_it_is_left_to_the_tokenizer():
    core = core_of(CUT["demo"])
    core.add_special_tokens([AddedToken("<wide>", rstrip=True)])
    assert piecewise(core).lengths(["a <wide>  b", "a b"]) == [None, own(core, ["a b"])[0]]


def test_pieces_that_are_wrong_on_the_first_texts_are_not_used():
    core = core_of(OTHERS["qwen"])
    pieces = piecewise(core_of(CUT["prefix"]))
    found = texts(300)
    encode = lambda some: core.encode_batch(some, add_special_tokens=False)  # noqa: E731
    assert measure(pieces, encode)(found) == own(core, found)


def test_all_are_counted_whoever_counts_them():
    core = core_of(CUT["demo"])
    asked = []

    def encode(some):
        asked.extend(some)
        return core.encode_batch(some, add_special_tokens=False)

    count = measure(piecewise(core), encode)
    first, second = texts(1000)[:500], texts(1000)[500:]
    assert count(first) == own(core, first)
    asked.clear()
    assert count(second) == own(core, second)
    assert asked and len(asked) < len(second)


def test_the_chinese_characters_that_are_cut_out_are_those_of_the_pattern():
    counter = Piecewise(None, [], [], False)
    usual = [chr(code) for code in range(0x110000) if counter._usual.fullmatch(chr(code))]
    assert len(usual) > 20_000
    han = regex.compile(r"\p{Han}")
    assert [bool(han.match(one)) for one in usual] == ["\u4e00" <= one <= "\u9fa5" for one in usual]
    assert module.CUT.findall("你 好,ab") == ["你", " ", "好", ",ab"]
