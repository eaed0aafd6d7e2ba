"""What an answer says otherwise than another one: pieces of it, marked. Words of Latin letters whole, other signs singly."""

import difflib
import re

_PIECE = re.compile(r"[A-Za-z0-9]+|\s+|.", re.DOTALL)
# A mark on every other sign says nothing: from this likeness down the whole answer is another one.
_LIKE = 0.2


def pieces(answer: str, other: str) -> list[tuple[str, bool]]:
    """`answer` in order, cut into pieces that are in `other` too (False) and that are not (True)."""
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
