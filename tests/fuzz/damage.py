"""Damages files and judges the result: an answer or a refusal with our own message, nothing else."""

import random
import re
from collections.abc import Callable

from core.ground.errors import StudioError

# Phrases of libraries, which must not appear in our messages.
FOREIGN = re.compile(r"Expecting|Traceback|codec can't|object has no|Errno|\bline \d+ column \d+ \(char|<class|Error\b")
WORDS = (b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\n", b"\0", b"\xff", b"<|", b"null", b"NaN", b"1e999",
         b"-1", b"true", b"99999999999999999999", "“".encode(), b"<a ", b"=cmd|' /C x'!A0", b"\\ud83d", "问：".encode(),
         b"../", b"auto_map", b"(", b")", b"'" * 3, b"\t")  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return the same bytes, damaged in a few places."""
    found = bytearray(data)
    for _ in range(rng.randint(0, 6)):
        at = rng.randrange(len(found) + 1)
        what = rng.random()
        if what < 0.4:
            found[at:at] = rng.choice(WORDS) * rng.choice((1, 1, 1, 50, 50_000))
        elif what < 0.6:
            del found[at : at + rng.choice((1, 2, 9, 200))]
        elif what < 0.8 and at < len(found):
            found[at] = rng.randrange(256)
        else:
            end = min(len(found), at + rng.randint(1, 60))
            found[at:at] = found[at:end] * rng.choice((1, 3))
    return bytes(found)


def refusal(work: Callable[[], object]) -> str:
    """Return the message with which `work` refuses, empty if it does not. Raises everything else."""
    try:
        work()
    except StudioError as refused:
        said = refused.text.zh + refused.text.en
        assert not FOREIGN.search(said), f"a library speaks: {said[:300]}"
        assert len(said) < 3000, f"a long refusal: {said[:300]}"
        return said
    return ""
