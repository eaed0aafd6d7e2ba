"""Opens any supported file as a stream of records: its kind is taken from its name and checked by its bytes.

`formats` interprets the records. A file whose bytes do not match its name is refused.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from core.data.files.delimited import delimited_records
from core.data.files.documents import documents
from core.data.files.encoding import Encoding, encoding_of
from core.data.files.json_records import MOST_CHARACTERS, is_one_value, line_records, too_long, value_records
from core.data.files.tables import Table, parquet_records, sheet_records
from core.data.files.texts import is_spoken, text_records
from core.ground.errors import BadInput
from core.ground.figures import size
from core.ground.text import Text

DOCUMENTS = ("docx", "pdf", "html")
KINDS = ("json", "jsonl", "csv", "tsv", "xlsx", "parquet", "txt", "md", *DOCUMENTS)
MOST_BYTES = 2 << 30
# First bytes of the binary formats.
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
_OLD_SHEET = Text(
    "是旧格式的表格：用 Excel 或 WPS 打开，另存为 .xlsx 再导入",
    "is in an old spreadsheet format: open it in Excel or WPS and save it as .xlsx",
)
_OLD_TEXT = Text(
    "是旧格式的文档：用 Word 或 WPS 打开，另存为 .docx 再导入",
    "is in an old document format: open it in Word or WPS and save it as .docx",
)
_PACKED = Text("是压缩包：先解压，再导入里面的文件", "is an archive: unpack it and import its files")
# Unsupported kinds, and what to do instead.
_INSTEAD = {
    **dict.fromkeys(("xls", "et", "ods", "numbers", "xlsb"), _OLD_SHEET),
    **dict.fromkeys(("doc", "wps", "odt", "rtf", "pages"), _OLD_TEXT),
    **dict.fromkeys(("zip", "gz", "rar", "7z", "tar", "tgz", "zst", "bz2", "xz"), _PACKED),
    "arrow": Text(
        "请用 datasets 的 to_json 或 to_parquet 写出再导入", "is an Arrow dataset: export it with to_json or to_parquet"
    ),
    "pkl": Text("可能含有代码，不予打开：请另存为 json", "may contain code and is not opened: save it as json"),
    "db": Text("是数据库：请先导出为 csv 或 json", "is a database: export it as csv or json"),
    "sqlite": Text("是数据库：请先导出为 csv 或 json", "is a database: export it as csv or json"),
}
_WEB_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_JSON = re.compile(r"\s*(?:\{\s*\"|\[\s*[{\[\"])")
_ALIASES = {
    "ndjson": "jsonl",
    "jsonlines": "jsonl",
    "pq": "parquet",
    "xlsm": "xlsx",
    "tab": "tsv",
    "markdown": "md",
    "htm": "html",
}


@dataclass(slots=True)
class Source:
    """A file being read: its kind, its encoding if it is text, and the progress."""

    path: Path
    kind: str
    size: int
    encoding: Encoding | None = None
    sheets: tuple[str, ...] = ()
    table: Table = field(default_factory=Table)
    ahead: float | None = None
    by_lines: bool = False
    _file: BinaryIO | None = field(default=None, repr=False)

    @property
    def begins(self) -> int:
        """Offset at which a UTF-8 text begins: after its BOM."""
        return 3 if self.encoding and self.encoding.name == "utf-8-sig" else 0

    @property
    def done(self) -> float:
        """The share read so far, 0 to 1.

        Tables read by a library count rows; if another process reads ahead, it reports the share.
        """
        if self.ahead is not None:
            return self.ahead
        try:
            return min(1.0, self._file.tell() / self.size) if self._file else self.table.done
        except ValueError:
            return 1.0

    def records(self, format_: str = "auto") -> Iterator[Any]:
        """Yield each record of the file, or Unreadable in its place. Raises BadInput if reading cannot continue.

        A dialogue or a chat log yields its dialogues or messages, unless `format_` says that it is plain text.
        """
        if self.kind == "xlsx":
            yield from sheet_records(self.path, self.table, self.sheets)
        elif self.kind in DOCUMENTS:
            yield from self._document_records(format_)
        elif self.kind == "parquet":
            yield from parquet_records(self.path, self.table)
        else:
            with self._opened() as text:
                yield from self._text_records(text, format_)

    def _document_records(self, format_: str) -> Iterator[Any]:
        """Yield the dialogues or messages of a document. Raises BadInput for prose, which belongs in a corpus."""
        for document in documents(self.path):
            if document.reason is not None:
                raise BadInput(f"{self.path.name}：{document.reason.zh}", f"{self.path.name}: {document.reason.en}")
            text = "\n".join(document.pages)
            if format_ == "auto" and not is_spoken(text):
                raise BadInput(
                    f"{self.path.name} 里没有看到对话（问：…答：… 之类）：书和文章请用“语料”导入（datasets corpus）",
                    f"{self.path.name} contains no dialogue (Q: … A: … or similar): import books and articles as a corpus (datasets corpus)",
                )
            yield from text_records(io.StringIO(text), format_)
        self.table.done = 1.0

    def _text_records(self, text: io.TextIOWrapper, format_: str) -> Iterator[Any]:
        if self.kind not in ("json", "jsonl"):
            head = text.read(64)
            text.seek(0)
            if _JSON.match(head):
                raise _wrong_name(self.path, "json", "JSON")
        if self.kind in ("csv", "tsv"):
            yield from delimited_records(text, "\t" if self.kind == "tsv" else None, self.table)
        elif self.kind in ("txt", "md"):
            yield from text_records(text, format_)
        elif self._by_lines(text):
            if self.encoding.utf8:
                self._file.seek(self.begins)
                self.by_lines = True
                yield from line_records(self._file, self.encoding.errors)
            else:
                yield from line_records(text)
        else:
            yield from value_records(text)

    def _by_lines(self, text: io.TextIOWrapper) -> bool:
        """Return whether a JSON file is JSON Lines: its first non-blank line is a complete value, and more follow."""
        first = following = ""
        while line := text.readline(MOST_CHARACTERS):
            if len(line) >= MOST_CHARACTERS and not line.endswith("\n"):
                # An array on a single line is read piecewise; a .jsonl with one endless line is not.
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
            # The decoder skips a BOM.
            yield io.TextIOWrapper(file, encoding=self.encoding.name, errors=self.encoding.errors, newline="")


def open_source(path: Path, sheets: tuple[str, ...] = (), *, whole: bool = True) -> Source:
    """Open the file at `path` without reading its records; of a workbook, these `sheets`.

    Raises BadInput if it is not a supported file. Without `whole`, the encoding of JSON is decided by its beginning.
    """
    if not path.is_file():
        raise BadInput(f"没有文件 {path}：请检查路径", f"file not found: {path}; check the path")
    ending = path.suffix.lower().lstrip(".")
    kind = _ALIASES.get(ending, ending)
    length = path.stat().st_size
    if length > MOST_BYTES:
        raise BadInput(
            f"{path.name} 超过 {size(MOST_BYTES)}：请拆分后再导入",
            f"{path.name} is over {size(MOST_BYTES)}: split it and import the parts",
        )
    if kind not in KINDS:
        raise _not_read(path, kind)
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise BadInput(
            f"{path.name} 打不开：请检查它的读取权限", f"{path.name} cannot be opened: check its permissions"
        ) from error
    if not head:
        raise BadInput(f"{path.name} 里没有数据", f"{path.name} contains no data")
    real = next(((ending, name) for magic, ending, name in _MAGIC if head.startswith(magic)), None)
    if real is None and kind != "html" and _WEB_PAGE.match(head):
        # A failed download often leaves an HTML page under the name of the file.
        real = ("html", "HTML")
    if real and real[0] == "xls":
        raise _not_read(path, "xls" if kind in ("xls", "xlsx", "csv") else "doc" if kind == "docx" else "xls")
    if real and real[0] != kind and not (real[0] == "xlsx" and kind == "docx"):
        raise _wrong_name(path, *real)
    if kind in ("xlsx", "parquet", "docx", "pdf"):
        if real is None:
            raise BadInput(
                f"{path.name} 不是 {kind} 文件：内容与后缀不符，请改成正确的后缀",
                f"{path.name} is not a {kind} file: its content does not match its name; rename it",
            )
        return Source(path, kind, length, sheets=sheets)
    return Source(path, kind, length, encoding_of(path, whole or kind not in ("json", "jsonl")))


def _not_read(path: Path, kind: str) -> BadInput:
    """Return the error for an unsupported kind of file: what it is, and what to use instead."""
    known = _INSTEAD.get(kind)
    if known:
        return BadInput(f"{path.name} {known.zh}", f"{path.name} {known.en}")
    return BadInput(
        f"不支持 {path.suffix or '没有后缀的'} 文件 {path.name}：请用 {'、'.join(KINDS)}；书和文章请用“语料”导入",
        f"{path.suffix or 'nameless'} files such as {path.name} are not supported: use {', '.join(KINDS)}; import books and articles as a corpus",
    )


def _wrong_name(path: Path, ending: str, name: str) -> BadInput:
    return BadInput(
        f"{path.name} 的内容是 {name}，与后缀 {path.suffix} 不符：请把后缀改成 .{ending}",
        f"{path.name} contains {name}, which does not match {path.suffix}: rename it to .{ending}",
    )
