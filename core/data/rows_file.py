"""Rows on disk: a JSON array, readable for XTuner and for people, or from 20,000 rows on JSON lines that stream.

Writes one row at a time and hashes as it goes; reads any page of rows without reading the rest.
"""

import hashlib
import json
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core.data.row import Row, problem
from core.ground.text import Text

ARRAY, LINES, INDEX = "data.json", "data.jsonl", "data.index"
MOST_IN_ARRAY = 20_000
_MOST_BYTES_IN_ARRAY = 32 << 20
# Rows per entry of the index.
_STRIDE = 256
# Bytes per block that is hashed and written.
_BLOCK = 1 << 18
# Encodes a text as JSON in UTF-8: the same bytes as `json.dumps(ensure_ascii=False)`, in a third of the time.
_quoted = msgspec.json.Encoder().encode


def file_text(rows: list[Row]) -> str:
    """Return the text of `data.json` as the course's script writes it (`indent=4`, no escapes, no final newline)."""
    return json.dumps(rows, ensure_ascii=False, indent=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written: the file, its SHA-256 in hex, and the number of rows."""

    file: str
    sha256: str
    rows: int


class RowsWriter:
    """Writes rows to a directory under construction: a small set as an array, a larger one as lines with an index."""

    def __init__(self, directory: Path, *, array_always: bool = False) -> None:
        self.directory, self.array_always = directory, array_always
        self.rows = 0
        self._few: list[Row] = []
        self._bytes = 0
        self._lines = None
        self._hash = hashlib.sha256()
        self._index = array("Q")
        self._block: list[bytes] = []
        self._block_bytes = 0

    def add(self, line: bytes, row: Row | None = None) -> int:
        """Write the next row from its `line` (and `row`, if the caller has it); return a hash of its content."""
        self.rows += 1
        if self._lines is None:
            self._few.append(row or row_of(line))
            self._bytes += len(line.decode())
            if not self.array_always and (self.rows > MOST_IN_ARRAY or self._bytes > _MOST_BYTES_IN_ARRAY):
                self._lines = (self.directory / LINES).open("wb")
                self._bytes = 0
                few, self._few = self._few, []
                for number, earlier in enumerate(few):
                    self._write(number, line_of(earlier))
        else:
            self._write(self.rows - 1, line)
        return hash(line)

    def finish(self) -> Written:
        """Close the file. Raises OSError if the disk is full."""
        if self._lines is None:
            data = file_text(self._few).encode()
            with (self.directory / ARRAY).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return Written(file=ARRAY, sha256=hashlib.sha256(data).hexdigest(), rows=self.rows)
        self._write_block()
        self._lines.flush()
        os.fsync(self._lines.fileno())
        self._lines.close()
        (self.directory / INDEX).write_bytes(self._index.tobytes())
        return Written(file=LINES, sha256=self._hash.hexdigest(), rows=self.rows)

    def _write(self, number: int, line: bytes) -> None:
        if number % _STRIDE == 0:
            self._index.append(self._bytes)
        self._bytes += len(line)
        self._block.append(line)
        self._block_bytes += len(line)
        if self._block_bytes > _BLOCK:
            self._write_block()

    def _write_block(self) -> None:
        data = b"".join(self._block)
        self._block.clear()
        self._block_bytes = 0
        self._hash.update(data)
        self._lines.write(data)


def line_of(row: Row) -> bytes:
    """Return a row as a line of JSON in UTF-8.

    Its first turn always has a system prompt: rows read in blocks must all have the same keys.
    """
    conversation = row["conversation"]
    turn = conversation[0]
    if len(conversation) == 1 and len(turn) == ("system" in turn) + 2:
        # The fast path, taken by nearly all rows.
        system, asked, answered = _quoted(turn.get("system", "")), _quoted(turn["input"]), _quoted(turn["output"])
        return b'{"conversation": [{"system": %b, "input": %b, "output": %b}]}\n' % (system, asked, answered)
    turns = []
    for number, turn in enumerate(conversation):
        parts = [b'"input": ' + _quoted(turn["input"]), b'"output": ' + _quoted(turn["output"])]
        if number == 0 or "system" in turn:
            parts.insert(0, b'"system": ' + _quoted(turn.get("system", "")))
        if len(turn) > 2 + ("system" in turn):
            more = {key: value for key, value in turn.items() if key not in ("system", "input", "output")}
            parts += [_quoted(key) + b": " + json.dumps(value).encode() for key, value in more.items()]
        turns.append(b"{" + b", ".join(parts) + b"}")
    return b'{"conversation": [' + b", ".join(turns) + b"]}\n"


def written(row: Row) -> tuple[bytes, Text | None]:
    """Return the line of a row and, if it cannot be trained on, the reason.

    Text that was encoded contains no lone surrogates.
    """
    try:
        line = line_of(row)
    except (UnicodeEncodeError, KeyError, TypeError, AttributeError, IndexError):
        reason = problem(row)
        if reason is None:
            raise
        return b"", reason
    return line, problem(row, whole=True)


def row_of(line: bytes) -> Row:
    """Parse a line."""
    row = json.loads(line)
    if not row["conversation"][0]["system"]:
        del row["conversation"][0]["system"]
    return row


def read_rows(file: Path, first: int = 0) -> Iterator[Row]:
    """Iterate over the rows of a file from index `first` (from 0)."""
    if file.name == ARRAY:
        yield from json.loads(file.read_text(encoding="utf-8"))[first:]
        return
    with file.open("rb") as lines:
        index = array("Q")
        index.frombytes((file.parent / INDEX).read_bytes())
        if first // _STRIDE >= len(index):
            return
        lines.seek(index[first // _STRIDE])
        for _ in range(first % _STRIDE):
            lines.readline()
        for line in lines:
            yield row_of(line)
