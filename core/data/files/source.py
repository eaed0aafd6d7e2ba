"""A file of somebody else's, opened as a stream of records whatever kind it is: found by its name, checked by its bytes.

What a record means is for `formats`. A file whose bytes are not what its name says is refused.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from core.data.files.encoding import Encoding, encoding_of
from core.data.files.json_records import MOST_CHARACTERS, is_one_value, line_records, too_long, value_records
from core.data.files.tables import Table, delimited_records, parquet_records, sheet_records
from core.ground.errors import BadInput

KINDS = ("json", "jsonl", "csv", "tsv", "xlsx", "parquet", "txt", "md")
MOST_BYTES = 2 << 30
# How the kinds that are no text begin.
_MAGIC = (
    (b"PK\x03\x04", "xlsx", "Excel / zip"),
    (b"PAR1", "parquet", "Parquet"),
    (b"%PDF", "pdf", "PDF"),
    (b"\xd0\xcf\x11\xe0", "xls", "Excel 97 (xls)"),
    (b"\x1f\x8b", "gz", "gzip"),
    (b"\x89PNG", "png", "PNG"),
    (b"\xff\xd8\xff", "jpg", "JPEG"),
    (b"7z\xbc\xaf", "7z", "7-Zip"),
    (b"Rar!", "rar", "RAR"),
    (b"\x7fELF", "elf", "ELF"),
)
_WEB_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_JSON = re.compile(r"\s*(?:\{\s*\"|\[\s*[{\[\"])")
_ALIASES = {"ndjson": "jsonl", "jsonlines": "jsonl", "pq": "parquet", "xlsm": "xlsx", "tab": "tsv", "markdown": "md"}


@dataclass(slots=True)
class Source:
    """A file that is read: what kind it is, its encoding if it is text, and how far reading has come."""

    path: Path
    kind: str
    size: int
    encoding: Encoding | None = None
    table: Table = field(default_factory=Table)
    _file: BinaryIO | None = field(default=None, repr=False)

    @property
    def done(self) -> float:
        """The share that has been read, 0 to 1; by rows for tables that are read by a library."""
        try:
            return min(1.0, self._file.tell() / self.size) if self._file else self.table.done
        except ValueError:
            return 1.0

    def records(self) -> Iterator[Any]:
        """Each record of the file, or Unreadable in its place. Raises BadInput where the file cannot be read on."""
        if self.kind == "xlsx":
            yield from sheet_records(self.path, self.table)
        elif self.kind == "parquet":
            yield from parquet_records(self.path, self.table)
        else:
            with self._opened() as text:
                yield from self._text_records(text)

    def _text_records(self, text: io.TextIOWrapper) -> Iterator[Any]:
        if self.kind not in ("json", "jsonl"):
            head = text.read(64)
            text.seek(0)
            if _JSON.match(head):
                raise _wrong_name(self.path, "json", "JSON")
        if self.kind in ("csv", "tsv"):
            yield from delimited_records(text, "\t" if self.kind == "tsv" else None)
        elif self.kind in ("txt", "md"):
            yield from _paragraphs(text)
        elif self._by_lines(text):
            if self.encoding.utf8:
                self._file.seek(3 if self.encoding.name == "utf-8-sig" else 0)
                yield from line_records(self._file, self.encoding.errors)
            else:
                yield from line_records(text)
        else:
            yield from value_records(text)

    def _by_lines(self, text: io.TextIOWrapper) -> bool:
        """Whether a JSON file is JSON lines: its first line that is not blank is a value of its own, and more follow."""
        first = following = ""
        while line := text.readline(MOST_CHARACTERS):
            if len(line) >= MOST_CHARACTERS and not line.endswith("\n"):
                # An array on one line is read piece by piece; a .jsonl of one endless line is not.
                if self.kind == "jsonl" and not line.lstrip().startswith("["):
                    raise too_long(1)
                text.seek(0)
                return False
            if line.strip() and not first:
                first = line.strip()
            elif line.strip():
                following = line.strip()
                break
        text.seek(0)
        whole = is_one_value(first)
        if self.kind == "jsonl":
            return whole if first.startswith("[") else bool(first)
        return whole and bool(following) and first.startswith(("{", "["))

    @contextmanager
    def _opened(self) -> Iterator[io.TextIOWrapper]:
        with self.path.open("rb") as file:
            self._file = file
            # An encoding's mark at the beginning is read over by the decoder.
            yield io.TextIOWrapper(file, encoding=self.encoding.name, errors=self.encoding.errors, newline="")


def open_source(path: Path) -> Source:
    """The file at `path`, looked at but not yet read. Raises BadInput where it is none of ours to read."""
    if not path.is_file():
        raise BadInput(f"没有文件 {path}：请检查路径", f"there is no file {path}: check the path")
    ending = path.suffix.lower().lstrip(".")
    kind = _ALIASES.get(ending, ending)
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise BadInput(
            f"{path.name} 超过 {MOST_BYTES >> 30} GB：请拆分后再导入",
            f"{path.name} is over {MOST_BYTES >> 30} GB: split it and import the parts",
        )
    if kind not in KINDS:
        raise BadInput(
            f"不支持 {path.suffix or '没有后缀的'} 文件 {path.name}：请用 {'、'.join(KINDS)}"
            "；PDF、Word、网页请用“语料”导入",
            f"{path.suffix or 'nameless'} files such as {path.name} are not read: use {', '.join(KINDS)}; "
            "PDF, Word and HTML are read as a corpus",
        )
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise BadInput(
            f"{path.name} 打不开：{error.strerror}", f"{path.name} cannot be opened: {error.strerror}"
        ) from error
    if not head:
        raise BadInput(f"{path.name} 里没有数据", f"{path.name} holds no data")
    real = next(((ending, name) for magic, ending, name in _MAGIC if head.startswith(magic)), None)
    if real is None and _WEB_PAGE.match(head):
        # What a failed download leaves under the name of a file.
        real = ("html", "HTML")
    if real and real[0] != kind:
        raise _wrong_name(path, *real)
    if kind in ("xlsx", "parquet"):
        if real is None:
            raise BadInput(
                f"{path.name} 不是 {kind} 文件：内容与后缀不符，请改成正确的后缀",
                f"{path.name} is no {kind} file: its content is not what its name says; rename it",
            )
        return Source(path, kind, size)
    return Source(path, kind, size, encoding_of(path))


def _wrong_name(path: Path, ending: str, name: str) -> BadInput:
    return BadInput(
        f"{path.name} 的内容是 {name}，与后缀 {path.suffix} 不符：请把后缀改成 .{ending}",
        f"{path.name} holds {name}, which is not what {path.suffix} says: rename it to .{ending}",
    )


def _paragraphs(text: io.TextIOWrapper) -> Iterator[dict[str, str]]:
    """The parts of a text that blank lines separate."""
    part: list[str] = []
    size = 0
    for line in iter(lambda: text.readline(MOST_CHARACTERS), ""):
        size += len(line)
        if len(line) >= MOST_CHARACTERS or size > MOST_CHARACTERS:
            raise too_long(1)
        if line.strip():
            part.append(line)
        else:
            size = 0
            if part:
                yield {"text": re.sub(r"\r\n?", "\n", "".join(part)).strip()}
                part = []
    if part:
        yield {"text": re.sub(r"\r\n?", "\n", "".join(part)).strip()}
