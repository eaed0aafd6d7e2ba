"""Marks how an answer differs from another one, in pieces: complete Latin words, other characters individually."""

import difflib
import re

_PIECE = re.compile(r"[A-Za-z0-9]+|\s+|.", re.DOTALL)
# Marking every other character is useless: below this similarity, the entire answer is marked.
_LIKE = 0.2


def pieces(answer: str, other: str) -> list[tuple[str, bool]]:
    """Return `answer` as pieces in order: those also in `other` (False) and those that are not (True)."""
    if not answer or answer == other:
        return [(answer, False)] if answer else []
    mine, theirs = _PIECE.findall(answer), _PIECE.findall(other)
    matcher = difflib.SequenceMatcher(None, theirs, mine, autojunk=False)
    if matcher.ratio() < _LIKE:
        return [(answer, True)]
    found: list[tuple[str, bool]] = []
    for kind, _, _, start, end in matcher.get_opcodes():
        if start < end:
            found.append(("".join(mine[start:end]), kind != "equal"))
    return found
