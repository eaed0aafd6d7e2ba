"""A text cut into pieces where its sentences end, each piece beginning with the end of the one before."""

import re
from collections.abc import Iterator

# A full stop ends an English sentence where a space and no small letter follows, but for titles and initials.
_CLOSING = r"[”’」』）)\"']*"
_STOP = rf"(?<!\b[A-Z])(?<!\b(?:Mr|Dr|Ms))(?<!\bMrs)\.{_CLOSING}(?= [^a-z]|\n|$)"
_SENTENCE = re.compile(rf"(?:[^。！？!?.\n]++|(?!{_STOP})\.)*+(?:[。！？!?]++{_CLOSING}|{_STOP}|\n|$) ?")
_BREAK = re.compile(r"[\s，、；：]")
LEAST_PIECE = 20


def chunks(text: str, most: int, overlap: int) -> list[str]:
    """Pieces of at most `most` characters that end where a sentence does; each begins with the end of the one before."""
    found: list[str] = []
    current: list[str] = []
    size = fresh = 0
    for unit in _units(text, most - overlap):
        if size + len(unit) > most and fresh:
            found.append("".join(current).strip())
            current = _repeated(current, overlap)
            size, fresh = sum(map(len, current)), 0
        current.append(unit)
        size += len(unit)
        fresh += bool(unit.strip())
    if fresh:
        found.append("".join(current).strip())
    return [piece for piece in found if len(piece) >= LEAST_PIECE] or [piece for piece in found[:1] if piece]


def _units(text: str, most: int) -> Iterator[str]:
    """The sentences of a text; a long one in parts that end at a space or a clause mark where there is one."""
    for sentence in _SENTENCE.finditer(text):
        start, end = sentence.span()
        while end - start > most:
            breaks = _BREAK.finditer(text, start + most // 2, start + most)
            cut = max((found.end() for found in breaks), default=start + most)
            yield text[start:cut]
            start = cut
        if start < end:
            yield text[start:end]


def _repeated(units: list[str], overlap: int) -> list[str]:
    """What the next piece begins with: the last whole sentences, else the end of the last one from a word or clause on."""
    kept: list[str] = []
    left = overlap
    for unit in reversed(units):
        if len(unit) > left:
            break
        kept.insert(0, unit)
        left -= len(unit)
    if "".join(kept).strip() or not overlap:
        return kept
    text = "".join(units).rstrip()
    start = max(0, len(text) - overlap)
    # One that comes just before is as good.
    found = _BREAK.search(text, max(0, start - 1), len(text) - 1)
    return [text[found.end() if found else start :] + "".join(units)[len(text) :]]
