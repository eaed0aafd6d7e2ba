"""The pieces of a corpus that are kept apart from training, so that what was learned can be told from what was learned by heart.

Which they are is decided by what a piece says, so the same corpus always parts the same way. Neighbouring pieces overlap:
of one that is kept apart only what stands in no other is kept. A small corpus is trained whole.
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
# Of fewer pieces none is spared.
LEAST_PIECES = 40
# What is left of a piece without its neighbours' words has to be worth reading.
_LEAST_LEFT = 0.5
# The end of a sentence may reach a little beyond the overlap.
_SPARE = 20


def parted(rows: Iterable[Row], share: float, overlap: int) -> Iterator[tuple[Row, str | None]]:
    """Each piece in its order; with one that is kept apart what it says alone."""
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
    """Whether a row is a text: with one that is asked something, a model's own answer goes along."""
    return not any(turn["input"] for turn in row["conversation"])


def text_of(row: Row) -> str:
    """The text that a row trains on."""
    return "".join(turn["output"] for turn in row["conversation"])


def texts_apart(workspace: Workspace, dataset: Dataset) -> list[str]:
    """The texts that were kept apart of a corpus, of an edited or a split one too; none where there are none."""
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
    """A piece without the end of the one before that it begins with, and without what the next one begins with."""
    end = len(text) - _shared(text, after, most)
    return text[_shared(before, text, most) : end].strip()


def _shared(one: str, other: str, most: int) -> int:
    """How many characters at the end of a piece begin the other one."""
    return next(
        (size for size in range(min(most, len(one), len(other)), 3, -1) if one.endswith(other[:size].rstrip())), 0
    )
