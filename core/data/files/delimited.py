"""CSV and similar files as records, with any delimiter and quote character."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any, TextIO

from core.data.files.header import Table, named
from core.data.files.json_records import MOST_CHARACTERS, Unreadable, too_long
from core.ground.errors import BadInput
from core.ground.figures import size
from core.ground.text import Text

_DELIMITERS = (",", "\t", ";", "|", "，", "；", "^", "~", "\x01", "¦")
# Delimiters of several characters are replaced by one character that no text contains.
_LONG_DELIMITERS = ("||", "|||", "::", "\\t", "<sep>", "@@", "##", "&&", "~~", "^^")
_STAND_IN = "\x1f"


def delimited_records(text: TextIO, delimiter: str | None, table: Table) -> Iterator[Any]:
    """Yield each row of a CSV or TSV as column → cell; delimiter and quote are detected from the first lines."""
    csv.field_size_limit(MOST_CHARACTERS)
    lines = _bounded_lines(text)
    head = [line for _, line in zip(range(20), lines, strict=False)]
    said = re.match(r"\ufeff?sep=(.)\r?\n?\Z", head[0], re.IGNORECASE) if head else None
    if said:
        head, delimiter = head[1:], said[1]
    quote = _quote(head)
    lines = chain(head, lines)
    if quote == '"' and any('\\"' in line for line in head) and not any('\\""' in line for line in head):
        # Quotes within a cell are written as \" instead of "".
        lines, head = (line.replace('\\"', '""') for line in lines), [line.replace('\\"', '""') for line in head]
    found = delimiter or _delimiter(head, quote)
    if len(found) > 1:
        long, found = found, _STAND_IN
        lines = (line.replace(long, _STAND_IN) for line in lines)
    yield from named(_rows(csv.reader(lines, delimiter=found, quotechar=quote)), table)


def _bounded_lines(text: TextIO) -> Iterator[str]:
    number = 0
    while line := text.readline(MOST_CHARACTERS):
        number += 1
        if len(line) >= MOST_CHARACTERS:
            raise too_long(number)
        yield line


def _rows(reader: Iterator[list[str]]) -> Iterator[Any]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "field limit" in str(error) or "field larger" in str(error):
                raise BadInput(
                    f"CSV 的一个单元格超过 {size(MOST_CHARACTERS)}：可能有引号没有成对",
                    f"a cell of the CSV is over {size(MOST_CHARACTERS)}: a quotation mark may not be closed",
                ) from error
            yield Unreadable(
                Text("这一行读不出来：里面有零字节，或引号、换行不成对",
                     "the row cannot be read: it contains NUL bytes, or unclosed quotation marks"), ""
            )  # fmt: skip


def _quote(head: list[str]) -> str:
    """Return the quote character: double, unless most lines have cells in single quotes."""
    text = "".join(head)
    single = len(re.findall(r"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|]|\r?$)", text, re.MULTILINE))
    double = len(re.findall(r"(?:^|[,;\t|])\"", text, re.MULTILINE))
    return "'" if single > double and single >= 0.5 * len(head) else '"'


def _delimiter(head: list[str], quote: str) -> str:
    """Return the delimiter that splits the first lines into the most columns of equal number."""
    best, most = ",", 1.0
    for candidate in (*_DELIMITERS, *_LONG_DELIMITERS):
        lines = [line.replace(candidate, _STAND_IN) for line in head] if len(candidate) > 1 else head
        try:
            reader = csv.reader(iter(lines), delimiter=candidate if len(candidate) == 1 else _STAND_IN, quotechar=quote)
            widths = [len(row) for row in reader if row]
        except csv.Error:
            continue
        if not widths:
            continue
        width, count = Counter(widths).most_common(1)[0]
        # A title may precede the header, and the last row may be truncated where the head ends.
        if width > 1 and count >= 0.6 * len(widths) and width + 0.5 * (len(candidate) > 1) > most:
            best, most = candidate, width + 0.5 * (len(candidate) > 1)
    return best
