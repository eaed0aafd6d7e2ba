"""Hold out pieces of a corpus from training, to tell what was learned from what was memorized.

A hash of a piece's text decides whether it is held out, so the same corpus always splits the same way. Neighboring
pieces overlap: of a held-out piece only the text that appears in no neighbor is kept. Small corpora are trained on in
full.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain, islice, pairwise

from core.data import split, storage
from core.data.row import Row
from core.data.storage import Dataset
from core.ground.errors import BadInput
from core.ground.files import read_json
from core.ground.workspace import Workspace

FILE = "held_out.json"
# Nothing is held out of a corpus with fewer pieces.
LEAST_PIECES = 40
# Least share of a piece that must remain without its neighbors' text for it to be worth scoring.
_LEAST_LEFT = 0.5
# Characters by which the end of a sentence may exceed the overlap.
_SPARE = 20


def parted(rows: Iterable[Row], share: float, overlap: int) -> Iterator[tuple[Row, str | None]]:
    """Yield each piece in order, with the text that only it contains if it is held out, else None."""
    rows = iter(rows)
    first = list(islice(rows, LEAST_PIECES))
    share = share if len(first) == LEAST_PIECES else 0.0
    before = ""
    for row, after in pairwise(chain(first, rows, [None])):
        text, alone = text_of(row), None
        if _apart(text, share):
            alone = _alone(text, before, text_of(after) if after else "", overlap + _SPARE)
        yield row, alone if alone and len(alone) >= _LEAST_LEFT * len(text) else None
        before = text


def is_piece(row: Row) -> bool:
    """Return whether a row is plain text, as opposed to a model's own answer to a question."""
    return not any(turn["input"] for turn in row["conversation"])


def text_of(row: Row) -> str:
    """Return the text that a row trains on."""
    return "".join(turn["output"] for turn in row["conversation"])


def texts_apart(workspace: Workspace, dataset: Dataset) -> list[str]:
    """Return the texts held out of a corpus or of an edited or split version of one; empty if there are none."""
    held = split.held_out_of(workspace, dataset.made)
    found = [text_of(row) for row in held.each()] if held else []
    seen: set[str] = set()
    while dataset.name not in seen:
        seen.add(dataset.name)
        found += read_json(dataset.path / FILE) or []
        try:
            dataset = storage.find(workspace, dataset.made.get("of") or dataset.name)
        except BadInput:
            break
    return found


def _apart(text: str, share: float) -> bool:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) < share * 2**48


def _alone(text: str, before: str, after: str, most: int) -> str:
    """Return a piece without the text it shares with the end of the previous piece and the beginning of the next."""
    end = len(text) - _shared(text, after, most)
    return text[_shared(before, text, most) : end].strip()


def _shared(one: str, other: str, most: int) -> int:
    """Return the number of characters at the end of `one` that begin `other`."""
    return next(
        (size for size in range(min(most, len(one), len(other)), 3, -1) if one.endswith(other[:size].rstrip())), 0
    )
