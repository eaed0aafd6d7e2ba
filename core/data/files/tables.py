"""Tables as records: CSV and TSV, Excel (XLSX), Parquet. The first row of a sheet names the columns.

A cell that holds a spreadsheet formula is no text to train on: its row is told and left out.
"""

import csv
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from core.data.files.json_records import MOST_CHARACTERS, Unreadable, too_long
from core.ground.errors import BadInput
from core.ground.text import Text

# What an archive may come to when it is unpacked, and how many times its own size; a bomb goes far beyond.
MOST_UNPACKED = 1 << 30
MOST_RATIO = 200
# What runs a program or fetches an address when the sheet is opened: =F(…), =cmd|…, +A1+…, @F(…).
_FORMULA = re.compile(r"\s*(?:=\s*[\w.@+\-]+\s*[(|!:]|=\s*[A-Za-z]{1,3}\$?\d|[+\-@]\s*[A-Za-z][\w.]*\s*[(|!])")
# What openpyxl raises over a sheet that is not as it should be.
_DAMAGED = (ValueError, KeyError, IndexError, TypeError, AttributeError, SyntaxError, OSError, EOFError,
            zipfile.BadZipFile, zlib.error)  # fmt: skip
_DELIMITERS = ",\t;|，"
_LONG_HEADER = 40
# A sheet that has nothing in so many rows counts as empty.
_LOOKED_AT = 100


@dataclass(slots=True)
class Table:
    """What is told while a table is read: the share that has been, 0 to 1, and the sheets that are not read."""

    done: float = 0.0
    left_out: list[str] = field(default_factory=list)


def delimited_records(text: TextIO, delimiter: str | None) -> Iterator[Any]:
    """Each row of a CSV or TSV as column → cell; the delimiter is found from the first lines if none is given."""
    csv.field_size_limit(MOST_CHARACTERS)
    lines = _bounded_lines(text)
    head = [line for _, line in zip(range(20), lines, strict=False)]
    reader = csv.reader(_chained(head, lines), delimiter=delimiter or _delimiter(head))
    rows = _csv_rows(reader)
    first = next((row for row in rows if isinstance(row, Unreadable) or any(row)), None)
    if first is None or isinstance(first, Unreadable):
        return
    header = headed(first)
    if not header:
        header = ["question", "answer"]
        yield from _named(header, iter([first]))
    yield from _named(header, rows)


def headed(first: list[str]) -> list[str]:
    """The column names; empty where the first of two columns' rows is a question and its answer rather than names."""
    names = [str(cell or "").strip().strip("\ufeff\"'") for cell in first]
    if len(names) == 2 and any(
        len(name) > _LONG_HEADER or name.endswith(("?", "？", "。", "!", "！")) for name in names
    ):
        return []
    return names


def sheet_records(path: Path, table: Table) -> Iterator[Any]:
    """Each row of the first sheet of an Excel file that has any; `table` is filled on the way."""
    check_archive(path)
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
    except Exception as error:
        raise _unreadable(path, error) from error
    try:
        for place, sheet in enumerate(book.worksheets):
            # What the sheet says of its own size is not believed, and only told.
            said = sheet.max_row or 0
            sheet.reset_dimensions()
            rows = _counted(sheet.iter_rows(values_only=True), said, table)
            first = next((row for row in rows if any(cell is not None for cell in row)), None)
            if first is None:
                continue
            table.left_out = [other.title for other in book.worksheets[place + 1 :] if _holds_any(other)]
            header = headed([_cell(cell) for cell in first])
            if not header:
                header = ["question", "answer"]
                yield from _named(header, iter([first]))
            yield from _named(header, rows)
            return
    except _DAMAGED as error:
        raise _unreadable(path, error) from error
    finally:
        book.close()


def _counted(rows: Iterator[Any], said: int, table: Table) -> Iterator[list[Any]]:
    for number, row in enumerate(rows, 1):
        # Some programs write a size of one row for every sheet.
        table.done = min(1.0, number / said) if said > 1 else 0.0
        yield list(row)


def _holds_any(sheet: Any) -> bool:
    """Whether a sheet holds something; one that is damaged may."""
    try:
        sheet.reset_dimensions()
        return any(cell is not None for row in islice(sheet.iter_rows(values_only=True), _LOOKED_AT) for cell in row)
    except _DAMAGED:
        return True


def parquet_records(path: Path, table: Table) -> Iterator[Any]:
    """Each row of a Parquet file, read a batch at a time; `table` is filled on the way."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        if any(group.total_byte_size > MOST_UNPACKED for group in groups):
            raise BadInput(
                f"{path.name} 的一个行组解压后超过 1 GB：请拆分后再导入",
                f"a row group of {path.name} comes to over 1 GB: split the file",
            )
        read = 0
        for batch in file.iter_batches(batch_size=1000):
            read += batch.num_rows
            table.done = read / file.metadata.num_rows
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def check_archive(path: Path, most: int = MOST_UNPACKED) -> None:
    """Refuse an archive that unpacks to far more than a table or a corpus may hold. Raises BadInput."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _unreadable(path, error) from error
    unpacked = sum(member.file_size for member in members)
    ratio = unpacked / max(1, path.stat().st_size)
    if unpacked > most or (ratio > MOST_RATIO and unpacked > 10 << 20) or len(members) > 100_000:
        raise BadInput(
            f"{path.name} 解压后有 {unpacked >> 20} MB（压缩比 {ratio:.0f}），不予打开：请换成普通文件",
            f"{path.name} unpacks to {unpacked >> 20} MB ({ratio:.0f} times its size) and is not opened: use plain files",
        )


def is_formula(cell: str) -> bool:
    """Whether a cell's text would be run by a spreadsheet."""
    return cell[:1] in "=+-@\t\r " and _FORMULA.match(cell) is not None


def _named(header: list[str], rows: Iterator[Any]) -> Iterator[Any]:
    for row in rows:
        if isinstance(row, Unreadable):
            yield row
            continue
        cells = [_cell(cell) for cell in row]
        if not any(cells):
            continue
        formula = next((cell for cell in cells if cell and is_formula(cell)), None)
        if formula is not None:
            shown = formula.strip()[:60]
            yield Unreadable(
                Text(f"单元格里是公式（{shown}），不是文字", f"a cell holds a formula ({shown}), not text"),
                ",".join(cell or "" for cell in cells)[:2000],
            )
            continue
        yield {name: cell for name, cell in zip(header, cells, strict=False) if name}


def _cell(value: Any) -> str | None:
    """A cell as text; whole numbers as a person writes them."""
    if value is None or isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _bounded_lines(text: TextIO) -> Iterator[str]:
    number = 0
    while line := text.readline(MOST_CHARACTERS):
        number += 1
        if len(line) >= MOST_CHARACTERS:
            raise too_long(number)
        yield line


def _chained(head: list[str], rest: Iterator[str]) -> Iterator[str]:
    yield from head
    yield from rest


def _csv_rows(reader: Iterator[list[str]]) -> Iterator[Any]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "field limit" in str(error) or "field larger" in str(error):
                raise BadInput(
                    f"CSV 的一个单元格超过 {MOST_CHARACTERS >> 20} MB：可能有引号没有成对",
                    f"a cell of the CSV is over {MOST_CHARACTERS >> 20} MB: a quote may lack its partner",
                ) from error
            yield Unreadable(Text(f"这一行读不出来：{error}", f"the row cannot be read: {error}"), "")


def _delimiter(head: list[str]) -> str:
    """The delimiter that splits the first lines into the same number of columns, the most of them."""
    best, most = ",", 1
    for candidate in _DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(iter(head), delimiter=candidate) if row]
        except csv.Error:
            continue
        # The last row may be cut off where the head ends.
        steady = widths and sum(width == widths[0] for width in widths) >= 0.6 * len(widths)
        if steady and widths[0] > most:
            best, most = candidate, widths[0]
    return best


def _unreadable(path: Path, error: Exception) -> BadInput:
    why = f"{type(error).__name__} {error}".replace("\n", " ")[:160]
    return BadInput(
        f"{path.name} 读不出来，文件可能已损坏：{why}", f"{path.name} cannot be read, it may be damaged: {why}"
    )
