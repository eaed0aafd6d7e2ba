"""Finds a table's header, which may be below a title, and yields its rows as records: column → cell.

A cell with a spreadsheet formula is not training text: its row is reported and skipped.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, time
from itertools import chain, islice
from typing import Any

from core.data.files.encoding import showable
from core.data.files.fields import TEXT, kind_of, layout_of
from core.data.files.json_records import Unreadable
from core.data.files.values import moment_text
from core.ground.text import Text

# The header is looked for among this many non-empty rows.
LOOKED_AT = 10
_LONG_HEADER = 40
# Formulas that run a program or fetch an address when the sheet is opened: =F(…), =A1+B1, @SUM(1), …cmd|'…'!A1.
# Mathematics and names after @ do not match: -sin(x), @客服(小满).
_CELL = r"\$?[A-Z]{1,3}\$?\d{1,7}"
_FORMULA = re.compile(
    rf"""\s*(?:
        =\s*[\w.@+\-]+\s*[(|!:] | =\s*{_CELL}\b | =[+\-]?\d[\d.]*\s*[-+*/^]\s*[\d(]
        | [+\-@]\s*[A-Z][A-Z0-9.]+\(\s*(?:{_CELL}|[\d"'+\-]|\)) | [+\-]\s*{_CELL}\s*[-+*/:]\s*(?:{_CELL}|\d)
        | [=+\-@][^\n]*?\w\s*\|\s*['"]?[^\n]*?!\s*\$?[A-Z]{{1,3}}\$?\d
    )""",
    re.VERBOSE,
)
_ENDS = ("?", "？", "。", "!", "！", "；", "…")
_ASKS = re.compile(r"[吗呢]\Z|几|怎么|什么|如何|多少|哪|谁|为何|能否|是否|可不可以|能不能|\b(?:what|how|why|when|where|who|which|can|do|does|is|are)\b", re.IGNORECASE)  # fmt: skip


@dataclass(slots=True)
class Table:
    """Progress and layout of a table being read.

    `done` is the share read (0 to 1); then all sheets, those not read, the row of the header (0: the first), whether
    there is none, and the number of merged cells.
    """

    done: float = 0.0
    sheets: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    header: int = 0
    no_header: bool = False
    merged: int = 0


def named(rows: Iterator[Any], table: Table) -> Iterator[Any]:
    """Yield each row below the header as column → cell; Unreadable rows are passed on."""
    head = list(islice((row for row in rows if isinstance(row, Unreadable) or any(_filled(row))), LOOKED_AT))
    place = header_place([row for row in head if not isinstance(row, Unreadable)])
    unreadable = next((number for number, row in enumerate(head) if isinstance(row, Unreadable)), len(head))
    if not head or unreadable <= place:
        yield from head
        return
    names = headed(head[place])
    if names:
        table.header = place + 1
        head = head[place + 1 :]
    else:
        table.no_header = True
        width = len(head[place])
        names = ["question", "answer"] if width == 2 else [_letter(number) for number in range(width)]
        head = head[place:]
    yield from _records(_distinct(names), chain(head, rows))


def header_place(head: list[list[Any]]) -> int:
    """Return the index of the header row: the one with known names, else the first that is not a title."""
    for place, row in enumerate(head):
        layout = layout_of(_names(row))
        if layout.is_qa or layout.chats:
            return place
    known = [sum(kind_of(name) is not None for name in _names(row) if name) for row in head]
    best = max(known, default=0)
    if best >= 2:
        return known.index(best)
    widths = [sum(_filled(row)) for row in head]
    if widths and widths[0] == 1 and max(widths) > 1 and (_names(head[0])[0] or "").lower() not in TEXT:
        return next(place for place, width in enumerate(widths) if width > 1)
    return 0


def headed(first: list[Any]) -> list[str]:
    """Return the column names; empty if the row contains data rather than names."""
    names = _names(first)
    filled = [name for name in names if name]
    layout = layout_of(names)
    if layout.is_qa or layout.chats or layout.text or any(kind_of(name) for name in filled):
        return names
    sentence = any(len(name) > _LONG_HEADER or name.endswith(_ENDS) for name in filled)
    number = any(isinstance(cell, int | float | date) and not isinstance(cell, bool) for cell in first)
    if len(filled) > 1 and (sentence or number or (len(names) == 2 and _ASKS.search(names[0]))):
        return []
    return names


def is_formula(cell: str) -> bool:
    """Return whether a spreadsheet would execute the text of a cell."""
    return cell[:1] in "=+-@\t\r " and _FORMULA.match(cell) is not None


def _records(names: list[str], rows: Iterator[Any]) -> Iterator[Any]:
    width = len(names)
    for row in rows:
        if isinstance(row, Unreadable):
            yield row
            continue
        if not any(cell is not None and cell != "" for cell in row):
            continue
        for cell in row:
            if isinstance(cell, str) and is_formula(cell):
                shown = showable(cell.strip()[:60])
                yield Unreadable(
                    Text(f"单元格里是公式（{shown}），不是文字", f"a cell contains a formula ({shown}), not text"),
                    ",".join(_text(part) for part in row)[:2000],
                )
                break
        else:
            if len(row) > width:
                names = _distinct([*names, *(_letter(number) for number in range(width, len(row)))])
                width = len(names)
            yield dict(zip(names, row, strict=False))


def _names(row: list[Any]) -> list[str]:
    return [_text(cell).strip().strip("\ufeff\"'“”*＊ ").strip() for cell in row]


def _distinct(names: list[str]) -> list[str]:
    """Give each column a unique name; one without a name gets its letter, as in a spreadsheet."""
    found: list[str] = []
    for number, name in enumerate(names):
        name = name or _letter(number)
        while name in found:
            name = f"{name} {_letter(number)}"
        found.append(name)
    return found


def _letter(number: int) -> str:
    """Return a column's letters as in a spreadsheet: A, B, …, Z, AA."""
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(65 + number % 26)


def _filled(row: list[Any]) -> list[bool]:
    return [cell is not None and _text(cell).strip() != "" for cell in row]


def _text(cell: Any) -> str:
    if isinstance(cell, date | time):
        return moment_text(cell)
    return "" if cell is None else str(cell)
