"""JSON and JSON Lines one record at a time: an array of any length is never loaded completely.

A record that is not valid JSON is reported by its number; reading resumes at the next record if the layout shows where
it begins.
"""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, TextIO

import msgspec

from core.data.files.broken_json import reason
from core.ground.errors import BadInput
from core.ground.figures import size
from core.ground.text import Text

# Characters per record. Nobody trains on a conversation of 16 MB; a file without line breaks is stopped here.
MOST_CHARACTERS = 16 << 20
# Characters of an object that holds all rows under one key, which must be loaded completely.
MOST_WRAPPED = 64 << 20
_CHUNK = 1 << 18
_SPACE = re.compile(r"[\s,]*")
_TEXT_SHOWN = 20_000
_DECODER = json.JSONDecoder(strict=False)
# Twice as fast but stricter; what it accepts, it parses identically, down to the last digit of a number.
_STRICT = msgspec.json.Decoder()
_ROWS = ("data", "rows", "train", "examples", "items", "records", "dataset", "instances", "conversations", "samples")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that could not be read: the reason, and the beginning of its text."""

    reason: Text
    text: str


def too_long(number: int) -> BadInput:
    """Return the error for a record beyond the limit."""
    most = size(MOST_CHARACTERS)
    return BadInput(
        f"第 {number} 行超过 {most}：文件可能缺少换行，请检查文件",
        f"row {number} exceeds {most}: check the file for missing line breaks",
    )


def line_records(file: BinaryIO | TextIO, decode_errors: str = "strict") -> Iterator[Any]:
    """Yield the value of each non-blank line, or Unreadable."""
    number = 0
    while line := file.readline(MOST_CHARACTERS):
        # Check before decoding: the block may end within a character.
        if len(line) >= MOST_CHARACTERS:
            raise too_long(number + 1)
        try:
            value = _STRICT.decode(line)
        except (ValueError, RecursionError):
            pass
        else:
            number += 1
            yield value
            continue
        if isinstance(line, bytes):
            line = line.decode("utf-8", errors=decode_errors)
        if not line.strip():
            continue
        number += 1
        try:
            yield _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            yield Unreadable(reason(error, line), line[:_TEXT_SHOWN])


def is_one_value(line: str) -> bool:
    """Return whether a line is one complete JSON value."""
    try:
        _DECODER.decode(line.strip())
    except (ValueError, RecursionError):
        return False
    return True


def value_records(file: TextIO) -> Iterator[Any]:
    """Yield the elements of a file's arrays, or its consecutive values; a single object is searched for rows."""
    window = _Window(file)
    number, values, first = 0, 0, None
    while (character := window.next_character()) is not None:
        if character == "[":
            window.at += 1
            for value in _elements(window, number):
                number += 1
                yield value
            values += 2
            continue
        value = window.value(MOST_WRAPPED if number == 0 else MOST_CHARACTERS, number + 1)
        number, values = number + 1, values + 1
        if values == 1:
            first = value
            continue
        if values == 2:
            yield first
        yield value
        if isinstance(value, Unreadable):
            return
    if values == 1:
        yield from opened(first)


def opened(value: Any) -> list[Any]:
    """Return the rows that an object holds under a key, as columns, or as its values; else the object itself."""
    if not isinstance(value, dict) or not value:
        return [value]
    lists = {key: held for key, held in value.items() if isinstance(held, list) and held}
    for key in (*_ROWS, *lists):
        held = lists.get(key)
        if held and isinstance(held[0], dict) and not ({"from", "role"} & set(held[0])) and key != "conversation":
            return held
    lengths = {len(held) for held in lists.values()}
    if len(lists) > 1 and len(lists) == len(value) and len(lengths) == 1:
        return [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]
    if all(isinstance(held, dict) for held in value.values()):
        return list(value.values())
    return [value]


def _elements(window: "_Window", before: int) -> Iterator[Any]:
    """Yield the elements of an array whose bracket has been read; `before` is the number of earlier records."""
    number, gap = before, window.gap()
    while (character := window.next_character()) != "]":
        number += 1
        if character is None:
            yield Unreadable(Text("文件在这里中断了", "the file is truncated here"), "")
            return
        value = window.value(MOST_CHARACTERS, number)
        yield value
        if isinstance(value, Unreadable) and not window.skip_to_next(gap):
            window.give_up()
            return
    window.at += 1


class _Window:
    """A sliding window over a text file; `at` is the offset of the next character to read."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.at, self.ended = file, "", 0, False

    def more(self, count: int = _CHUNK) -> bool:
        """Read more; return False at the end of the file."""
        block = self.file.read(count)
        self.text, self.at = self.text[self.at :] + block, 0
        self.ended = not block
        return bool(block)

    def next_character(self) -> str | None:
        """Return the next character that is not a space or comma, without consuming it; None at the end."""
        while True:
            self.at = _SPACE.match(self.text, self.at).end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return None

    def give_up(self) -> None:
        """Stop reading: the beginning of the next value cannot be found."""
        self.text, self.at, self.file = "", 0, io.StringIO()

    def gap(self) -> str:
        """Return the whitespace before the next value: the separator of a file that a program laid out."""
        while True:
            start = self.at
            end = _SPACE.match(self.text, start).end()
            if end < len(self.text):
                return self.text[start:end]
            if not self.more():
                return ""

    def value(self, most: int, number: int) -> Any:
        """Return the next value or Unreadable. Raises BadInput if it is longer than `most` characters."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
                # A number may continue in the next block.
                if end < len(self.text) or self.ended or not self.more():
                    self.at = end
                    return value
                continue
            except json.JSONDecodeError as error:
                cut_off = error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - 16
                if cut_off and not self.ended:
                    if len(self.text) - self.at > most:
                        raise too_long(number) from None
                    self.more(max(_CHUNK, len(self.text) - self.at))
                    continue
                place = error.pos - self.at
                why = (
                    reason(error, self.text, self.at)
                    if error.pos < len(self.text.rstrip()) and not error.msg.startswith("Unterminated")
                    else Text(
                        "不是合法的 JSON：文件在这一行中断了", "not valid JSON: the file is truncated inside this row"
                    )
                )
                return Unreadable(why, self.text[self.at : self.at + max(2000, min(place + 200, _TEXT_SHOWN))])
            except (RecursionError, ValueError) as error:
                # Nested too deeply, or a number with thousands of digits.
                return Unreadable(reason(error, self.text, self.at), self.text[self.at : self.at + 200])

    def skip_to_next(self, gap: str) -> bool:
        """Skip to the next array element as indicated by the layout; return whether it was found."""
        if "\n" not in gap:
            return False
        start = re.compile(r",[ \t]*\r?" + re.escape(gap.lstrip(" \t\r")) + r"(?=[{\[])")
        searched = 0
        while True:
            found = start.search(self.text, self.at)
            if found:
                self.at = found.end()
                return True
            searched += len(self.text) - self.at
            self.at = max(self.at, len(self.text) - len(gap) - 8)
            if searched > MOST_CHARACTERS or not self.more():
                return False
