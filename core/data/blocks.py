"""Splits a long JSON Lines file into blocks that several processes read, convert and inspect independently.

A block counts its records from 1 and keeps its own notes; `lines_in_blocks` concatenates the blocks, so that the result
is the same as when one process reads the whole file.
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from core.data.files import formats
from core.data.files.encoding import showable
from core.data.files.json_records import MOST_CHARACTERS, Unreadable, line_records, too_long
from core.data.files.notes import Notes
from core.data.files.placeholders import Fill
from core.data.files.source import Source
from core.data.looks import look
from core.data.read_ahead import share_out
from core.data.row import Row
from core.data.rows_file import line_of
from core.ground.errors import BadInput
from core.ground.text import Text

_BLOCK = 1 << 20
_SHOWN_TEXT = 4000
# A record's number; the line of its row, or the text of an unusable record; what `look` saw in the row; what was
# changed, or why the record is unusable; the row itself if requested.
Item = tuple[int, bytes | str, tuple | None, Text | None, Row | None]
Convert = Callable[[Iterator[Any], Notes], Iterator[Item]]


class OtherEncoding(Exception):
    """The file begins as UTF-8 but is not UTF-8 throughout."""


@dataclass(slots=True)
class _Block:
    """The result of a block: its items, its notes, and the error that ended it early."""

    items: list[Item]
    notes: Notes
    ended: Exception | None = None
    too_long: bool = False


def lines_in_blocks(source: Source, convert: Convert, notes: Notes) -> Iterator[Item]:
    """Yield the items that `convert` makes of a file's records, in order; `notes` and `source` are updated on the way.

    Raises OtherEncoding if the file is not UTF-8, and whatever `convert` or a record that is too long raises.
    """
    count = -(-source.size // _BLOCK)
    for place, block in enumerate(share_out(lambda place: _worked(source, place, convert), count)):
        before = notes.number
        notes.go_on(block.notes)
        source.ahead = min(1.0, (place + 1) * _BLOCK / source.size)
        if before:
            for number, *rest in block.items:
                yield before + number, *rest
        else:
            yield from block.items
        if block.too_long:
            raise too_long(notes.number + 1)
        if block.ended:
            raise block.ended


def looked_at(found: Iterable[formats.Result], fill: Fill, *, with_rows: bool = False) -> Iterator[Item]:
    """Fill in placeholders and inspect each row.

    Rows are dropped unless requested: other processes need only the lines.
    """
    for number, line, row, told in found:
        if row is None:
            yield number, _text(line), None, told, None
            continue
        if fill:
            row = fill.row(row)
            line = line_of(row)
        # In a line, an empty system prompt (left by stripping or filling) looks the same as none.
        needed = with_rows or row["conversation"][0].get("system") == ""
        yield number, line, look(row), told, row if needed else None


def _text(record: Any) -> str:
    """Return the text of an unusable record, so that the user can fix it."""
    if isinstance(record, Unreadable):
        return showable(record.text[:_SHOWN_TEXT])
    try:
        return showable(json.dumps(record, ensure_ascii=False, default=str)[:_SHOWN_TEXT])
    except (ValueError, RecursionError):
        return ""


def _worked(source: Source, place: int, convert: Convert) -> _Block:
    block = _Block([], Notes())
    try:
        block.items.extend(convert(line_records(_lines(source, place), source.encoding.errors), block.notes))
    except BadInput:
        block.too_long = True
    except UnicodeDecodeError:
        block.ended = OtherEncoding()
    except formats.LateLoss as late:
        block.ended = late
    return block


def _lines(source: Source, place: int) -> io.BytesIO:
    """Return the lines that begin within a block; the last one may end beyond it."""
    start, end = max(place * _BLOCK, source.begins), (place + 1) * _BLOCK
    with source.path.open("rb") as file:
        file.seek(start)
        if place:
            file.seek(start - 1)
            skipped = file.readline(MOST_CHARACTERS)
            start += len(skipped) - 1
            if not skipped.endswith(b"\n"):
                # A line longer than the limit; the block where it begins reports it.
                return io.BytesIO()
        if start >= end:
            return io.BytesIO()
        return io.BytesIO(file.read(end - start - 1) + file.readline(MOST_CHARACTERS))
