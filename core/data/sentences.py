"""Cuts a text into pieces at ends of sentences; each piece repeats the end of the previous one."""

import re
from collections.abc import Iterator

# A period ends an English sentence if a space but no small letter follows, except after titles and initials.
_CLOSING = r"[”’」』）)\"']*"
_STOP = rf"(?<!\b[A-Z])(?<!\b(?:Mr|Dr|Ms))(?<!\bMrs)\.{_CLOSING}(?= [^a-z]|\n|$)"
_SENTENCE = re.compile(rf"(?:[^。！？!?.\n]++|(?!{_STOP})\.)*+(?:[。！？!?]++{_CLOSING}|{_STOP}|\n|$) ?")
_BREAK = re.compile(r"[\s，、；：]")
LEAST_PIECE = 20


def chunks(text: str, most: int, overlap: int) -> list[str]:
    """Return pieces of at most `most` characters that end with a sentence and repeat the end of the previous piece."""
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
    """Yield the sentences of a text; long ones are split, at a space or clause mark if possible."""
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
    """Return the beginning of the next piece: the last complete sentences, else the end of the last one."""
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
    # A break just before that is fine too.
    found = _BREAK.search(text, max(0, start - 1), len(text) - 1)
    return [text[found.end() if found else start :] + "".join(units)[len(text) :]]
