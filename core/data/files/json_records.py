"""JSON and JSON lines, a record at a time: an array of any length is never held whole.

A record that is no JSON is told by its number, and the next one is found again where the file's layout shows it.
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

# Of one record. Nobody trains on a conversation of 16 MB; a file without line ends is stopped here.
MOST_CHARACTERS = 16 << 20
# Of one object that holds all rows under a key, which has to be read whole.
MOST_WRAPPED = 64 << 20
_CHUNK = 1 << 18
_SPACE = re.compile(r"[\s,]*")
_TEXT_SHOWN = 20_000
_DECODER = json.JSONDecoder(strict=False)
# Twice as quick, and takes less: of what it takes it makes the same, to the last digit of a number.
_STRICT = msgspec.json.Decoder()
_ROWS = ("data", "rows", "train", "examples", "items", "records", "dataset", "instances", "conversations", "samples")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that could not be read: why, and the beginning of its text."""

    reason: Text
    text: str


def too_long(number: int) -> BadInput:
    """The refusal of a file with a record beyond the limit."""
    most = size(MOST_CHARACTERS)
    return BadInput(
        f"第 {number} 行超过 {most}：文件可能缺少换行，请检查文件",
        f"row {number} exceeds {most}: check the file for missing line breaks",
    )


def line_records(file: BinaryIO | TextIO, decode_errors: str = "strict") -> Iterator[Any]:
    """The value of each line that is not blank, or Unreadable."""
    number = 0
    while line := file.readline(MOST_CHARACTERS):
        # Before it is decoded: the end of such a block may be within a character.
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
    """Whether a line is a whole JSON value of its own."""
    try:
        _DECODER.decode(line.strip())
    except (ValueError, RecursionError):
        return False
    return True


def value_records(file: TextIO) -> Iterator[Any]:
    """The elements of the arrays in a file, or its values one after the other; a lone object is opened for its rows."""
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
    """The rows that one object holds under a key, as columns, or as its values; else the object alone."""
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
    """The elements of an array whose bracket was read; `before` are the records that came earlier."""
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
    """A part of a text file that moves on; `at` is the place in it that is read next."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.at, self.ended = file, "", 0, False

    def more(self, count: int = _CHUNK) -> bool:
        """Read on; False at the end of the file."""
        block = self.file.read(count)
        self.text, self.at = self.text[self.at :] + block, 0
        self.ended = not block
        return bool(block)

    def next_character(self) -> str | None:
        """The next one that is no space or comma, left in place; None at the end."""
        while True:
            self.at = _SPACE.match(self.text, self.at).end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return None

    def give_up(self) -> None:
        """Read no more: where the next value begins cannot be told."""
        self.text, self.at, self.file = "", 0, io.StringIO()

    def gap(self) -> str:
        """The space before the next value: what stands between two values of a file that was laid out by a program."""
        while True:
            start = self.at
            end = _SPACE.match(self.text, start).end()
            if end < len(self.text):
                return self.text[start:end]
            if not self.more():
                return ""

    def value(self, most: int, number: int) -> Any:
        """The next value, or Unreadable; raises BadInput where it is longer than `most` characters."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
                # A number may go on in the next block.
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
                # Nested too deep, or a number of thousands of digits.
                return Unreadable(reason(error, self.text, self.at), self.text[self.at : self.at + 200])

    def skip_to_next(self, gap: str) -> bool:
        """Go to where the layout shows that the next value of an array begins."""
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
