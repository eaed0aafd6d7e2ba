"""Converts a tokenizer for llama.cpp: its tokens with their types, the order of merges, the pre-tokenizer.

Two kinds are supported: byte-level BPE from tokenizer.json (llama.cpp's `gpt2`), and SentencePiece BPE from
tokenizer.model or tokenizer.json (`llama`). Everything else is refused. Only reads files; `verification` proves the
result, by having llama.cpp read the same questions.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.ground.files import read_json
from core.ground.text import Text

# llama.cpp's token types.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
# No merge produces these: they are matched in the text first.
_ADDED_SCORE = -1000.0
_SPACE = "\u2581"
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = ("ByteLevel", True)
_LLAMA3, _QWEN2 = ("Split", _WORDS % r"\p{N}{1,3}"), ("Split", _WORDS % r"\p{N}")
# Pre-tokenizer steps as in tokenizer.json, and llama.cpp's name for the same. The demo model also splits off each
# Chinese character, which makes no difference because no merge crosses one.
_CUTS = {
    (_GPT2,): "gpt-2",
    (("Split", r"\p{Han}"), _GPT2): "gpt-2",
    (("Digits", True), _GPT2): "smollm",
    (_LLAMA3, ("ByteLevel", False)): "smaug-bpe",
    (_QWEN2, ("ByteLevel", False)): "qwen2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """llama.cpp's tokenizer model and pre-tokenizer, and whether a space is put before a text."""

    model: str
    cut: str = "default"
    spaced: bool = False


@dataclass(slots=True, kw_only=True)
class Vocabulary:
    """Tokens by id; `merges` for byte-level BPE, `scores` for SentencePiece."""

    kind: Kind
    tokens: list[str]
    kinds: list[int]
    scores: list[float]
    merges: list[str]


def kind_of(directory: Path) -> Kind | Text:
    """Return the kind of a model's tokenizer, or why llama.cpp does not support it."""
    if (directory / "tokenizer.model").is_file():
        model = _sentencepiece(directory / "tokenizer.model")
        if model.trainer_spec.model_type != model.trainer_spec.BPE:
            return _refused("tokenizer.model", "unigram")
        return Kind(model="llama", spaced=model.normalizer_spec.add_dummy_prefix)
    said = read_json(directory / "tokenizer.json") or {}
    model = said.get("model") or {}
    if model.get("type") != "BPE":
        return _refused("tokenizer.json", str(model.get("type") or "-"))
    if model.get("byte_fallback"):
        return Kind(model="llama", spaced=_puts_space(said))
    steps = _steps(said.get("pre_tokenizer"))
    cut = _CUTS.get(steps)
    if cut is None:
        return _refused("tokenizer.json", " + ".join(name for name, _ in steps) or "-")
    # The same pre-tokenizer, but a word that is a token is not split, whatever the merges say.
    return Kind(model="gpt2", cut="llama-bpe" if cut == "smaug-bpe" and model.get("ignore_merges") else cut)


def read(directory: Path, size: int) -> Vocabulary:
    """Read the vocabulary of a model with `size` embedding rows. The tokenizer must be one that `kind_of` accepts."""
    kind = kind_of(directory)
    assert isinstance(kind, Kind)
    # Models have more rows than tokens, for a number that divides well.
    tokens = Vocabulary(
        kind=kind,
        tokens=[f"[PAD{number}]" for number in range(size)],
        kinds=[UNUSED] * size,
        scores=[-10000.0] * size,
        merges=[],
    )
    if kind.model == "gpt2":
        _byte_level(tokens, directory)
    elif (directory / "tokenizer.model").is_file():
        _pieces(tokens, directory)
    else:
        _joined(tokens, directory)
    for number, token, special in _added(directory):
        if number < size:
            tokens.tokens[number] = token if special else token.replace(_SPACE, " ")
            tokens.kinds[number] = CONTROL if special else USER_DEFINED
            tokens.scores[number] = _ADDED_SCORE
    return tokens


def _byte_level(vocabulary: Vocabulary, directory: Path) -> None:
    model = read_json(directory / "tokenizer.json")["model"]
    for token, number in model["vocab"].items():
        vocabulary.tokens[number], vocabulary.kinds[number] = token, NORMAL
    vocabulary.merges = [" ".join(pair) for pair in _pairs(model)]


def _pieces(vocabulary: Vocabulary, directory: Path) -> None:
    """Read SentencePiece's own file. A piece that C would take for the end of a string is renamed."""
    kinds = {1: NORMAL, 2: UNKNOWN, 3: CONTROL, 4: USER_DEFINED, 5: UNUSED, 6: BYTE}
    for number, piece in enumerate(_sentencepiece(directory / "tokenizer.model").pieces):
        if number < len(vocabulary.tokens):
            vocabulary.tokens[number] = "\U0001f409" if piece.piece == "\0" else piece.piece
            vocabulary.kinds[number], vocabulary.scores[number] = kinds[piece.type], piece.score


def _joined(vocabulary: Vocabulary, directory: Path) -> None:
    """Read tokenizer.json: pairs merged earlier get a better score."""
    model = read_json(directory / "tokenizer.json")["model"]
    rank: dict[str, int] = {}
    for number, (left, right) in enumerate(_pairs(model), 1):
        rank.setdefault(left + right, number)
    for token, number in model["vocab"].items():
        unknown = token == model.get("unk_token")
        vocabulary.tokens[number] = token
        vocabulary.kinds[number] = UNKNOWN if unknown else BYTE if _BYTE.fullmatch(token) else NORMAL
        vocabulary.scores[number] = -float(rank.get(token, 0))


def _pairs(model: dict[str, Any]) -> list[list[str]]:
    """Return the merges, which older versions of tokenizers write as one string."""
    return [pair.split(" ") if isinstance(pair, str) else pair for pair in model.get("merges", [])]


def _added(directory: Path) -> list[tuple[int, str, bool]]:
    """Return the tokens outside of the vocabulary: id, text, and whether they are never shown."""
    decoder = (read_json(directory / "tokenizer_config.json") or {}).get("added_tokens_decoder") or {}
    found = {int(number): one for number, one in decoder.items()}
    found |= {one["id"]: one for one in (read_json(directory / "tokenizer.json") or {}).get("added_tokens") or []}
    return [(number, one["content"], bool(one.get("special"))) for number, one in found.items()]


def _steps(step: Any) -> tuple[tuple[str, Any], ...]:
    """Return the pre-tokenizer steps: each name with its relevant option."""
    if not isinstance(step, dict):
        return ()
    name = step.get("type")
    if name == "Sequence":
        return tuple(one for inner in step.get("pretokenizers", []) for one in _steps(inner))
    if name == "Split":
        pattern = (step.get("pattern") or {}).get("Regex") if step.get("behavior") == "Isolated" else None
        return (("Split", pattern),)
    if name == "Digits":
        return (("Digits", step.get("individual_digits")),)
    if name == "ByteLevel" and not step.get("add_prefix_space"):
        return (("ByteLevel", step.get("use_regex", True)),)
    return ((str(name), None),)


def _puts_space(said: dict[str, Any]) -> bool:
    """Return whether a SentencePiece tokenizer puts a space before a text."""
    normalizer, cut = said.get("normalizer") or {}, said.get("pre_tokenizer") or {}
    prepends = any(one.get("type") == "Prepend" for one in (normalizer, *normalizer.get("normalizers", [])))
    return prepends or (cut.get("type") == "Metaspace" and cut.get("prepend_scheme", "always") != "never")


def _sentencepiece(file: Path) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(file.read_bytes())
    return model


def _refused(file: str, what: str) -> Text:
    return Text(
        f"{file} 里的分词器（{what}）这里不会写进 GGUF（会：字节级 BPE、SentencePiece 的 BPE）：用 llama.cpp 的 "
        "convert_hf_to_gguf.py 转换合并后的模型",
        f"the tokenizer in {file} ({what}) is not supported here (only byte-level BPE and SentencePiece BPE): run llama.cpp's own convert_hf_to_gguf.py on the merged model",
    )
