"""Finds near-duplicate texts: min-hashes of their three-character shingles, compared within bands.

The share of equal min-hashes estimates the Jaccard similarity of two sets of shingles (Broder 1997). Rows are compared
by their question, texts as they are. Short questions are similar on purpose and are not compared.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

HASHES, BANDS = 64, 16
ALIKE = 0.85
# Shorter texts are phrasings of the same question; beyond this number of texts it takes too long.
LEAST = 24
MOST_TEXTS = 10_000
# Of a longer text only this many characters of its beginning and its end count, unless `whole` is set.
_AT_EACH_END = 1000
_AT_ONCE = 4096
_MOST_IN_A_BUCKET = 8
_MARKS = re.compile(r"[\W_]+")
_random = np.random.default_rng(20240101)
_MULTIPLY = _random.integers(1, 2**32, HASHES, dtype=np.uint64) | np.uint64(1)
_ADD = _random.integers(0, 2**32, HASHES, dtype=np.uint64)


def signature(text: str) -> np.ndarray:
    """Return the min-hashes of a text: HASHES 32-bit numbers; case, spaces and punctuation are ignored."""
    points = np.frombuffer(_MARKS.sub("", text).casefold().encode("utf-32-le", "replace"), np.uint32)
    points = points.astype(np.uint64)
    if len(points) < 3:
        points = np.concatenate([points, np.zeros(3 - len(points), np.uint64)])
    pieces = np.unique((points[:-2] * np.uint64(0x9E3779B1) + points[1:-1]) * np.uint64(0x85EBCA6B) + points[2:])
    mixed = (pieces ^ (pieces >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed >>= np.uint64(16)
    parts = (mixed[at : at + _AT_ONCE, None] for at in range(0, len(mixed), _AT_ONCE))
    lowest = np.min([(part * _MULTIPLY + _ADD).min(axis=0) for part in parts], axis=0)
    return (lowest >> np.uint64(32)).astype(np.uint32)


@dataclass(slots=True)
class Likeness:
    """Adds texts by number and finds earlier similar ones; at most `most` texts are remembered."""

    most: int = MOST_TEXTS
    whole: bool = False
    _numbers: list[int] = field(default_factory=list)
    _signatures: list[np.ndarray] = field(default_factory=list)
    _buckets: dict[tuple[int, bytes], list[int]] = field(default_factory=lambda: defaultdict(list))

    @property
    def full(self) -> bool:
        """Whether no more texts are remembered."""
        return len(self._numbers) >= self.most

    def add(self, number: int, text: str) -> int | None:
        """Add a question or text; return the number of an earlier near-duplicate, else None.

        Short texts and those beyond the limit are ignored.
        """
        if self.full or len(text) < LEAST:
            return None
        if not self.whole and len(text) > 2 * _AT_EACH_END:
            text = text[:_AT_EACH_END] + text[-_AT_EACH_END:]
        found, rows = signature(text), HASHES // BANDS
        keys = [(band, found[band * rows : (band + 1) * rows].tobytes()) for band in range(BANDS)]
        near = {place for key in keys for place in self._buckets.get(key, ())}
        for place in sorted(near):
            if (self._signatures[place] == found).mean() >= ALIKE:
                return self._numbers[place]
        for key in keys:
            bucket = self._buckets[key]
            if len(bucket) < _MOST_IN_A_BUCKET:
                bucket.append(len(self._numbers))
        self._numbers.append(number)
        self._signatures.append(found)
        return None
