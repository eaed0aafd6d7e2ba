"""Cloze questions from texts: a passage up to the first occurrence of a name, number or term; what comes next?

Works for Chinese and English. Terms are rare in the corpus, since a model guesses what is on every page, and no
question contains its own answer. The same texts always give the same questions. Uses no model.
"""

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Limits: pieces inspected, and characters searched for a term.
MOST_TEXTS, MOST_SEARCHED = 400, 20_000_000
# Characters before a term, least and most: enough to make clear what the passage is about.
LEAST_CONTEXT = {"zh": 40, "en": 120}
MOST_CONTEXT = 1500
# Share of the pieces: a word in more of them is the subject of the book, not a detail.
_MOST_PIECES = 0.08
# A Chinese term: its characters occur together this many times more often than by chance.
_COHESION = 20.0
_HAN = r"\u3400-\u9fff"
_NUMERAL = "零〇一二两三四五六七八九十百千万亿"
_NUMBER = re.compile(rf"(?<![\d.,])\d[\d,.]*\d(?![\d%])|(?<![{_NUMERAL}])[{_NUMERAL}]{{3,}}(?![{_NUMERAL}])")
# The capital at the beginning of a sentence means nothing, so a name must follow a small letter or a comma.
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][\w'-]{2,}(?: [A-Z][\w'-]+)*")
_QUOTED = re.compile(r"(?<=[《「『“])[^》」』”《「『“\n]{2,12}(?=[》」』”])")


@dataclass(frozen=True, slots=True)
class Cloze:
    """A text up to a term, and the term."""

    text: str
    answer: str
    language: str


def cloze(texts: Sequence[str], count: int, among: Sequence[str] | None = None) -> list[Cloze]:
    """Return at most `count` questions spread over the texts; with `among`, only terms that occur there too."""
    some = sorted(dict.fromkeys(texts), key=_mixed)[:MOST_TEXTS]
    terms = _chinese_terms(some if among is None else [*some, *sorted(among, key=_mixed)[:MOST_TEXTS]])
    pieces = Counter(term for text in some for term in {found[2] for found in _terms(text, terms)})
    known = None if among is None else "\n".join(among)[:MOST_SEARCHED]
    usual = max(3, math.ceil(_MOST_PIECES * len(some)))
    waiting = []
    for text in some:
        found = [
            Cloze(text=text[max(0, start - MOST_CONTEXT) : start].rstrip(" "), answer=term, language=language)
            for start, language, term in _terms(text, terms)
            if start >= LEAST_CONTEXT[language]
            and pieces[term] <= usual
            and term not in text[:start]
            and (known is None or term in known)
        ]
        if found:
            waiting.append(sorted(found, key=lambda one: _mixed(one.text)))
    # One question per piece, then a second one per piece, and so on.
    rounds = (place for place in range(max(map(len, waiting), default=0)))
    return [one[place] for place in rounds for one in waiting if place < len(one)][:count]


def accepted(said: str, answer: str) -> bool:
    """Return whether a continuation begins with the term, not with a longer word or number."""
    text, wanted = _plain(said), _plain(answer)
    if not text.startswith(wanted):
        return False
    last, following = wanted[-1], text[len(wanted) : len(wanted) + 1]
    if last.isdigit():
        return not following.isdigit()
    if last in _NUMERAL:
        return following not in tuple(_NUMERAL)
    return not (last.isascii() and following.isascii() and following.isalnum())


def _terms(text: str, terms: frozenset[str]) -> Iterator[tuple[int, str, str]]:
    """Yield (start, language, term) of each term."""
    for found in _NUMBER.finditer(text):
        around = text[max(0, found.start() - 20) : found.end() + 20]
        yield found.start(), "zh" if re.search(f"[{_HAN}]", around) else "en", found[0]
    for found in _NAME.finditer(text):
        yield found.start(), "en", found[0]
    for found in _QUOTED.finditer(text):
        yield found.start(), "zh" if re.search(f"[{_HAN}]", found[0]) else "en", found[0]
    for run in re.finditer(f"[{_HAN}]+", text):
        start = run.start()
        while start < run.end():
            # The longest term that begins here.
            size = next((size for size in (4, 3, 2) if text[start : start + size] in terms), 0)
            if size and start + size <= run.end():
                yield start, "zh", text[start : start + size]
            start += size or 1


def _chinese_terms(texts: Sequence[str]) -> frozenset[str]:
    """Return character sequences that recur with different neighbors, more often than their parts would by chance."""
    runs = [run for text in texts for run in re.findall(f"[{_HAN}]+", text)]
    counts: Counter[str] = Counter()
    sides: dict[str, tuple[set[str], set[str]]] = {}
    for number, run in enumerate(runs):
        for size in (1, 2, 3, 4):
            for start in range(len(run) - size + 1):
                part = run[start : start + size]
                counts[part] += 1
                if size > 1:
                    left, right = sides.setdefault(part, (set(), set()))
                    # The end of a run counts as a unique neighbor.
                    left.add(run[start - 1] if start else f"|{number}")
                    right.add(run[start + size] if start + size < len(run) else f"|{number}")
    total = sum(map(len, runs))
    found = set()
    for part, (left, right) in sides.items():
        if counts[part] < 2 or len(left) < 2 or len(right) < 2:
            continue
        apart = max(counts[part[:cut]] * counts[part[cut:]] for cut in range(1, len(part)))
        if counts[part] * total >= _COHESION * apart:
            found.add(part)
    return frozenset(found)


def _mixed(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _plain(text: str) -> str:
    """Normalize: no leading quotes or spaces, one form of characters that can be written in two ways."""
    text = unicodedata.normalize("NFKC", text).casefold().lstrip(" \n\"'“‘《「『(（*")
    return re.sub(r"(?<=\d),(?=\d{3})", "", text)
