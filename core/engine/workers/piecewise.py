"""How many tokens a text has, counted by the pieces that a tokenizer cuts it into before it makes tokens of them.

Each piece becomes tokens by itself, and most come again and again: a piece is given to the tokenizer once, which takes a
third of its time. Only for BPE without chance that begins by cutting out each Chinese character, as that of the demo
model does (for those that cut as Qwen and GPT-2 do, measured, it takes as long as the tokenizer itself); for texts of
characters that every version of Unicode knows alike; and only where the first texts have as many tokens as the tokenizer
itself says. All else is counted by the tokenizer.

A part of the workers, in the engine's interpreter.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

MOST_PIECES, LONGEST_KEPT = 200_000, 40
PROVED_BY = 200
# Other patterns the tokenizers' own engine may read otherwise than Python's.
_HAN = r"\p{Han}"
# What may follow the first cut: none of these looks at where in a text it is.
_AFTER = ("ByteLevel", "Split", "Digits")
_USUAL = (
    r"[\t\n\r\x20-\x7e\u00a1-\u00ac\u00ae-\u00ff\u2010-\u2027\u2030-\u205e\u3001-\u3003\u3008-\u3011\u3014-\u301b"
    r"\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fa5\uff01-\uff5e]*+"
)
# Of those the Chinese ones, as `\p{Han}` has them, each a piece; and what is between. Twice as quick as that pattern.
CUT = re.compile("[\u4e00-\u9fa5]|[^\u4e00-\u9fa5]+")


class Piecewise:
    """Counts the tokens of texts; `lengths` gives None for one that the tokenizer is to count."""

    def __init__(self, rest: Any, added: "Sequence[str]", odd: "Sequence[str]", composed: bool) -> None:
        import regex

        self._usual = regex.compile(_USUAL)
        # The longest first: of two that begin at one place, the tokenizer takes that.
        either = lambda tokens: "|".join(map(regex.escape, sorted(tokens, key=len, reverse=True)))  # noqa: E731
        self._added = regex.compile(f"({either(added)})") if added else None
        self._odd = regex.compile(either(odd)) if odd else None
        self._rest, self._composed = rest, composed
        # An added token stands in no piece of anything else.
        self._fixed = dict.fromkeys(added, 1)
        self._known: dict[str, int] = dict(self._fixed)

    def lengths(self, texts: "Sequence[str]") -> "list[int | None]":
        """The tokens of each text."""
        if len(self._known) > MOST_PIECES:
            self._known = dict(self._fixed)
        known = self._known
        cut = [self._pieces(text) if self._is_usual(text) else None for text in texts]
        new = list({piece for pieces in cut if pieces is not None for piece in pieces if piece not in known})
        if new:
            known.update(zip(new, map(len, self._rest.encode_batch(new, add_special_tokens=False)), strict=True))
        lengths = [None if pieces is None else sum(map(known.__getitem__, pieces)) for pieces in cut]
        for piece in new:
            # A long one does not come again.
            if len(piece) > LONGEST_KEPT:
                del known[piece]
        return lengths

    def _is_usual(self, text: str) -> bool:
        return (
            self._usual.fullmatch(text) is not None
            and (self._odd is None or not self._odd.search(text))
            and (not self._composed or unicodedata.is_normalized("NFC", text))
        )

    def _pieces(self, text: str) -> "list[str]":
        if self._added is None:
            return CUT.findall(text)
        parts = self._added.split(text)
        pieces = CUT.findall(parts[0])
        for place in range(1, len(parts), 2):
            pieces.append(parts[place])
            pieces += CUT.findall(parts[place + 1])
        return pieces


def piecewise(core: Any) -> "Piecewise | None":
    """The counter for a tokenizer's core; None where it does not begin by cutting with a pattern."""
    from tokenizers import Tokenizer

    told = json.loads(core.to_str())
    normalizer, before = told["normalizer"], told["pre_tokenizer"] or {}
    steps = before["pretokenizers"] if before.get("type") == "Sequence" else [before]
    first = steps[0] if steps else {}
    if normalizer is not None and normalizer["type"] != "NFC":
        return None
    if (
        told["model"].get("type") != "BPE"
        or told["model"].get("dropout")
        or getattr(core, "encode_special_tokens", False)
    ):
        return None
    if first.get("type") != "Split" or first["behavior"] != "Isolated" or first["invert"]:
        return None
    steps = steps[1:]
    if first["pattern"].get("Regex") != _HAN or any(step["type"] not in _AFTER for step in steps):
        return None
    plain, odd = [], []
    for token in told["added_tokens"]:
        if not token["content"]:
            continue
        own = not (token["single_word"] or token["lstrip"] or token["rstrip"] or token["normalized"])
        (plain if own else odd).append(token["content"])
    if normalizer is not None:
        odd = [unicodedata.normalize("NFC", token) for token in odd]
    after = {"type": "Sequence", "pretokenizers": steps} if steps else None
    try:
        rest = Tokenizer.from_str(
            json.dumps({**told, "normalizer": None, "pre_tokenizer": after, "added_tokens": [], "post_processor": None,
                        "truncation": None, "padding": None})
        )  # fmt: skip
        return Piecewise(rest, plain, odd, normalizer is not None)
    except Exception:  # noqa: BLE001 - an older tokenizer's own description, or no `regex`
        return None


def measure(
    pieces: "Piecewise | None", encode: "Callable[[list[str]], Sequence[Any]]"
) -> "Callable[[list[str]], list[int]]":
    """What gives the tokens of many texts: by their pieces where that can be, and was right for the first of them; else as
    the tokenizer encodes them."""
    proved = False

    def lengths(texts: "list[str]") -> "list[int]":
        nonlocal pieces, proved
        if pieces is None:
            return [len(ids) for ids in encode(texts)]
        if not proved:
            sample = texts[:PROVED_BY]
            itself = [len(ids) for ids in encode(sample)]
            proved = True
            if any(a not in (None, b) for a, b in zip(pieces.lengths(sample), itself, strict=True)):
                pieces = None
                return lengths(texts)
        found = pieces.lengths(texts)
        others = [place for place, length in enumerate(found) if length is None]
        if others:
            for place, ids in zip(others, encode([texts[place] for place in others]), strict=True):
                found[place] = len(ids)
        return found

    return lengths
