"""Finds the numbers in a text, however written: 1,000 · 30万 · twenty-four · a hundred and five · 二十四 · 百分之五十.

Expects normalized width and case. Ordinal words are not read: "first" and "second" too often mean something else.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORDS = {word: value for value, word in enumerate(_SMALL)} | {word: 20 + 10 * n for n, word in enumerate(_TENS)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000}
_ENGLISH = re.compile(
    rf"(?<![a-z])(?:an?\s+(?={'|'.join(_SCALES)}))?(?:{'|'.join([*_WORDS, *_SCALES])})"
    rf"(?:(?:[\s-]+|\s+and\s+)(?:{'|'.join([*_WORDS, *_SCALES])}))*(?![a-z])"
)
_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_PLACES = {"十": 10, "百": 100, "千": 1000}
_MYRIADS = {"万": 10_000, "亿": 100_000_000}
# 千 before one of these is part of a unit: kilogram, kilometer.
_UNITS = "克米瓦卡赫帕伏焦字"
# Not numbers: 十分 is "very", 一些 is "some".
_NO_NUMBER = re.compile("十分(?![之钟])|万一|一些|一样|一般|一定|一起|一直")
_CHINESE = re.compile(rf"(?:[零〇一二两三四五六七八九十百万亿]|千(?![{_UNITS}]))+")
_ARABIC = re.compile(
    r"(?<![\d.a-z])(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:(?P<chinese>[百万亿]|千(?![" + _UNITS + r"]))"
    r"|\s+(?P<english>hundred|thousand|million|billion)(?![a-z]))?"
)


@dataclass(frozen=True, slots=True)
class Number:
    """A number and its position."""

    start: int
    end: int
    value: float


def numbers(text: str) -> Iterator[Number]:
    """Yield the numbers of a text, in order."""
    taken = [match.span() for match in _NO_NUMBER.finditer(text)]
    found = []
    # "5 million" is one number: a span read by one notation is not read again by the next.
    for pattern, value_of in ((_ARABIC, _arabic), (_ENGLISH, _english), (_CHINESE, _chinese)):
        for match in pattern.finditer(text):
            value = value_of(match)
            if value is not None and all(match.end() <= start or match.start() >= end for start, end in taken):
                found.append(Number(match.start(), match.end(), value))
                taken.append(match.span())
    yield from sorted(found, key=lambda number: number.start)


def _arabic(match: re.Match[str]) -> float:
    plain = re.match(r"[\d,]+(?:\.\d+)?", match[0])
    assert plain is not None
    value = float(plain[0].replace(",", ""))
    if char := match["chinese"]:
        return value * (_PLACES | _MYRIADS)[char]
    return value * _SCALES.get(match["english"] or "", 1)


def _english(match: re.Match[str]) -> float:
    """ "hundred" multiplies the number directly before it, "thousand" everything: two hundred and five thousand."""
    whole = part = 0
    for word in re.findall(r"[a-z]+", match[0]):
        if word in _WORDS:
            part += _WORDS[word]
        elif word == "hundred":
            part = max(1, part) * 100
        elif word in _SCALES:
            whole, part = whole + max(1, part) * _SCALES[word], 0
    return float(whole + part)


def _chinese(match: re.Match[str]) -> float | None:
    """Parse Chinese numerals, including years digit by digit (一九四九); None for multipliers without digits, as in 百姓."""
    chars = match[0]
    if all(char in _DIGITS for char in chars):
        return float("".join(str(_DIGITS[char]) for char in chars))
    if all(char in _MYRIADS or char in "百千" for char in chars):
        return None
    whole = part = digit = 0
    for char in chars:
        if char in _DIGITS:
            digit = _DIGITS[char]
        elif char in _PLACES:
            part, digit = part + (digit or 1) * _PLACES[char], 0
        else:
            whole, part, digit = (whole + part + digit) * _MYRIADS[char], 0, 0
    return float(whole + part + digit)
