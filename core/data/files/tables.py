"""Excel (XLSX) and Parquet tables as records. `header` finds the header; CSV is in `delimited`.

Also limits the unpacked size of archives: a workbook is one.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from core.data.files.header import Table, named
from core.ground.errors import BadInput
from core.ground.figures import size

__all__ = ["Table", "check_archive", "parquet_records", "sheet_records"]
# Limits for an archive: unpacked size, and ratio to its own size; a bomb far exceeds them.
MOST_UNPACKED = 1 << 30
MOST_RATIO = 200
# Exceptions that openpyxl raises for a malformed sheet.
_DAMAGED = (ValueError, KeyError, IndexError, TypeError, AttributeError, SyntaxError, OSError, EOFError,
            zipfile.BadZipFile, zlib.error)  # fmt: skip
# A sheet without content in this many rows counts as empty.
_LOOKED_AT = 100
_MERGED = re.compile(rb'<mergeCell\s+ref="([A-Z]{1,3})(\d+):([A-Z]{1,3})(\d+)"')
# Merged ranges read, for a sheet that merges each of a million rows.
_MOST_MERGED = 100_000


def sheet_records(path: Path, table: Table, wanted: tuple[str, ...] = ()) -> Iterator[Any]:
    """Yield each row of the `wanted` sheets of an Excel file (default: the first with content); fills in `table`."""
    check_archive(path)
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
    except Exception as error:
        raise unreadable(path) from error
    try:
        holding = [sheet for sheet in book.worksheets if _holds_any(sheet)]
        table.sheets = [sheet.title for sheet in holding]
        missing = [name for name in wanted if name not in table.sheets]
        if missing:
            raise BadInput(
                f"{path.name} 里没有工作表 {missing[0]}：有 {'、'.join(table.sheets)}",
                f"{path.name} has no sheet {missing[0]}; its sheets: {', '.join(table.sheets)}",
            )
        chosen = [sheet for sheet in holding if sheet.title in wanted] if wanted else holding[:1]
        table.left_out = [sheet.title for sheet in holding if sheet not in chosen]
        for place, sheet in enumerate(chosen):
            # The sheet's stated size is not trusted; it is only used for progress.
            said = sheet.max_row or 0
            sheet.reset_dimensions()
            rows = _merged(sheet.iter_rows(), _merges(path, sheet), table)
            yield from named(_counted(rows, said, table, place, len(chosen)), table)
    except _DAMAGED as error:
        raise unreadable(path) from error
    finally:
        book.close()


def _counted(rows: Iterator[list[Any]], said: int, table: Table, place: int, count: int) -> Iterator[list[Any]]:
    for number, row in enumerate(rows, 1):
        # Some programs write a size of one row for every sheet.
        table.done = (place + (min(1.0, number / said) if said > 1 else 0.0)) / count
        yield row


def _merged(rows: Iterator[Any], merges: dict[int, list[tuple[int, int]]], table: Table) -> Iterator[list[Any]]:
    """Yield the values of each row; a cell merged downwards is repeated in each of its rows."""
    table.merged += sum(map(len, merges.values()))
    open_: list[tuple[int, int, Any]] = []
    for number, cells in enumerate(rows, 1):
        row = [_value(cell) for cell in cells]
        if open_:
            open_ = [held for held in open_ if held[1] >= number]
            for column, _, value in open_:
                if column < len(row) and row[column] is None:
                    row[column] = value
        for column, last in merges.get(number, ()):
            if column < len(row) and row[column] is not None:
                open_.append((column, last, row[column]))
        yield row


def _merges(path: Path, sheet: Any) -> dict[int, list[tuple[int, int]]]:
    """Return the cells merged downwards, by their first row: column and last row."""
    found: dict[int, list[tuple[int, int]]] = {}
    count = 0
    with zipfile.ZipFile(path) as archive, archive.open(sheet._worksheet_path) as file:
        before = b""
        while block := file.read(1 << 18):
            text = before + block
            end = 0
            for match in _MERGED.finditer(text):
                end = match.end()
                first, last = int(match[2]), int(match[4])
                count += 1
                if last > first and count <= _MOST_MERGED:
                    found.setdefault(first, []).append((_number(match[1]), last))
            before = text[max(end, len(text) - 80) :]
    return found


def _value(cell: Any) -> Any:
    """Return a cell's value as displayed: integers and percentages."""
    value = cell.value
    if isinstance(value, float):
        value = int(value) if value.is_integer() and abs(value) < 1e15 else value
    if isinstance(value, int | float) and not isinstance(value, bool) and "%" in (shown := cell.number_format):
        digits = shown.partition(".")[2].partition("%")[0].count("0")
        return f"{value * 100:.{digits}f}%"
    return value


def _number(letters: bytes) -> int:
    """Convert a column's letters to its index, from 0."""
    place = 0
    for letter in letters:
        place = place * 26 + letter - 64
    return place - 1


def _holds_any(sheet: Any) -> bool:
    """Return whether a sheet has content; a damaged one counts as having some."""
    try:
        said = sheet.max_row, sheet.max_column
        sheet.reset_dimensions()
        held = any(cell is not None for row in islice(sheet.iter_rows(values_only=True), _LOOKED_AT) for cell in row)
        sheet._max_row, sheet._max_column = said
    except _DAMAGED:
        return True
    return held


def parquet_records(path: Path, table: Table) -> Iterator[Any]:
    """Yield each row of a Parquet file, read in batches; fills in `table`."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        if any(group.total_byte_size > MOST_UNPACKED for group in groups):
            raise BadInput(
                f"{path.name} 的一个行组解压后超过 {size(MOST_UNPACKED)}：请拆分后再导入",
                f"a row group of {path.name} comes to over {size(MOST_UNPACKED)}: split the file",
            )
        read = 0
        for batch in file.iter_batches(batch_size=1000):
            read += batch.num_rows
            table.done = read / file.metadata.num_rows
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
        raise unreadable(path) from error


def check_archive(path: Path, most: int = MOST_UNPACKED) -> None:
    """Refuse an archive that unpacks to far more than a table or corpus may hold. Raises BadInput."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise unreadable(path) from error
    unpacked = sum(member.file_size for member in members)
    ratio = unpacked / max(1, path.stat().st_size)
    if unpacked > most or (ratio > MOST_RATIO and unpacked > 10 << 20) or len(members) > 100_000:
        raise BadInput(
            f"{path.name} 解压后有 {size(unpacked)}（压缩比 {ratio:.0f}），不予打开：请换成普通文件",
            f"{path.name} unpacks to {size(unpacked)} ({ratio:.0f} times its size) and was not opened: use uncompressed files",
        )


def unreadable(path: Path) -> BadInput:
    """Return the error for a damaged or truncated file, which its own program could not open either."""
    return BadInput(
        f"{path.name} 读不出来：文件已损坏或没有传完，请在原来的程序里打开、另存一份再试",
        f"{path.name} cannot be read: it is damaged or incomplete; open it in its own program and save it again",
    )
