"""Documents as plain text: txt, md, PDF, Word (docx), HTML, or a zip of them. Knows nothing of training.

A document that cannot be read is returned with the reason. An archive is refused entirely if a member points outside
it, or if it unpacks to too much.
"""

import io
import re
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from core.data.files.encoding import encoding_of
from core.data.files.tables import check_archive
from core.data.files.web_page import page_text
from core.ground.errors import BadInput, StudioError
from core.ground.figures import size
from core.ground.text import Text

KINDS = ("txt", "md", "pdf", "docx", "html", "htm")
MOST_BYTES = 200 << 20
MOST_PAGES = 5000
# For a PDF: pypdf limits the work for a page to about a minute, and thousands of pages may share one content.
MOST_SECONDS = 600.0
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document's name and its text in pages (one if it has no pages), or why it could not be read.

    `done` is the share of the file read so far.
    """

    name: str
    pages: tuple[str, ...] = ()
    reason: Text | None = None
    done: float = 1.0


def documents(path: Path) -> Iterator[Document]:
    """Yield the documents of a file: one, or all in a zip. Raises BadInput if it is not a document."""
    if not path.is_file():
        raise BadInput(f"没有文件 {path}：请检查路径", f"file not found: {path}; check the path")
    kind = path.suffix.lower().lstrip(".")
    if kind == "zip":
        yield from _archived(path)
        return
    if kind not in KINDS:
        raise BadInput(
            f"不支持 {path.suffix or '没有后缀的'} 文件 {path.name}：请用 {'、'.join(KINDS)} 或它们的 zip",
            f"{path.suffix or 'nameless'} files such as {path.name} are not supported: use {', '.join(KINDS)} or a zip of them",
        )
    if path.stat().st_size > MOST_BYTES:
        raise BadInput(
            f"{path.name} 超过 {size(MOST_BYTES)}：请拆分", f"{path.name} is over {size(MOST_BYTES)}: split it"
        )
    yield _read(path, path.name)


def _archived(path: Path) -> Iterator[Document]:
    check_archive(path)
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as directory:
        members = [member for member in archive.infolist() if not member.filename.endswith("/")]
        for member in members:
            name = _name(member)
            inside = PurePosixPath(name.replace("\\", "/"))
            link = (member.external_attr >> 16) & 0o170000 == 0o120000
            if inside.is_absolute() or ".." in inside.parts or re.match(r"[A-Za-z]:", name) or link:
                raise BadInput(
                    f"{path.name} 里的 {name[:80]} 指向压缩包之外，不予打开",
                    f"{path.name} holds {name[:80]!r}, which points outside the archive: it was not opened",
                )
        for number, member in enumerate(members):
            name, done = _name(member), (number + 1) / len(members)
            inside = PurePosixPath(name)
            # Files that the operating system adds to archives.
            if inside.name.startswith(".") or "__MACOSX" in inside.parts:
                continue
            kind = inside.suffix.lower().lstrip(".")
            if kind not in KINDS or member.file_size > MOST_BYTES or member.flag_bits & 1:
                why = Text("加了密", "it is encrypted") if member.flag_bits & 1 else Text("不支持这种文件", "not read")
                yield Document(name=name, reason=why, done=done)
                continue
            # Extract under a generated name: the member's own name never becomes a path.
            target = Path(directory) / f"{number}.{kind}"
            try:
                with archive.open(member) as packed, target.open("wb") as file:
                    while block := packed.read(1 << 20):
                        file.write(block)
            except Exception:  # noqa: BLE001 - each way of packing raises what it likes over damage
                yield Document(name=name, reason=_damaged(), done=done)
                continue
            yield replace(_read(target, name), done=done)
            target.unlink()


def _name(member: zipfile.ZipInfo) -> str:
    """Return the name of a member; Chinese Windows writes it in GB18030 without saying so."""
    if member.flag_bits & 0x800:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("gb18030")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return member.filename


def _read(path: Path, name: str) -> Document:
    kind = path.suffix.lower().lstrip(".")
    try:
        pages = {"pdf": _pdf, "docx": _docx, "html": _html, "htm": _html}.get(kind, _text)(path)
    except StudioError as error:
        return Document(name=name, reason=error.text)
    except Exception:  # noqa: BLE001 - what a damaged file makes a reader raise cannot be listed
        return Document(name=name, reason=_damaged())
    if not any(page.strip() for page in pages):
        why = Text("里面没有文字（扫描件要先做文字识别）", "it contains no text (a scan needs OCR first)")
        return Document(name=name, reason=why)
    return Document(name=name, pages=tuple(pages))


def _text(path: Path) -> list[str]:
    with path.open("rb") as file:
        if b"\0" in (head := file.read(4096)) and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise BadInput(f"{path.name} 不是文字", f"{path.name} is not a text file")
    encoding = encoding_of(path)
    text = path.read_text(encoding=encoding.name, errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return [_FRONT_MATTER.sub("", text) if path.suffix.lower() == ".md" else text]


def _pdf(path: Path) -> list[str]:
    import logging

    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.ERROR)
    reader = PdfReader(path)
    if reader.is_encrypted and not reader.decrypt(""):
        raise BadInput("PDF 有密码：先去掉密码", "the PDF has a password: remove it first")
    if len(reader.pages) > MOST_PAGES:
        raise BadInput(f"超过 {MOST_PAGES} 页：请拆分", f"it has more than {MOST_PAGES} pages: split it")
    until, texts = time.monotonic() + MOST_SECONDS, []
    for number, page in enumerate(reader.pages, 1):
        if time.monotonic() > until:
            raise BadInput(
                f"读了 {MOST_SECONDS / 60:.0f} 分钟，还没读到第 {number} 页：请拆分，或另存为文本",
                f"reading it took {MOST_SECONDS / 60:.0f} minutes up to page {number}: split it or save it as text",
            )
        texts.append(page.extract_text() or "")
    return texts


def _docx(path: Path) -> list[str]:
    """Return the text of a Word document, a line per paragraph, including tables; builds no XML tree."""
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        data = archive.open("word/document.xml")
        # Entity bombs need a document type definition; Word never writes one.
        head = data.read(4096)
        if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
            raise BadInput("Word 文件里有实体定义，不予打开", "the Word file defines XML entities and was not opened")
        lines, words = [], []
        for event, element in ElementTree.iterparse(_Joined(head, data), events=("start", "end")):
            if event == "end":
                if element.tag == _WORD + "t":
                    words.append(element.text or "")
                elif element.tag in (_WORD + "tab", _WORD + "br"):
                    words.append("\t" if element.tag.endswith("tab") else "\n")
                elif element.tag == _WORD + "p":
                    lines.append("".join(words))
                    words = []
                    element.clear()
        return ["\n".join(lines)]


class _Joined(io.RawIOBase):
    """A stream whose beginning has already been read."""

    def __init__(self, head: bytes, rest: zipfile.ZipExtFile) -> None:
        self.head, self.rest = head, rest

    def read(self, size: int = -1) -> bytes:
        if self.head:
            head, self.head = self.head, b""
            return head
        return self.rest.read(size)


def _html(path: Path) -> list[str]:
    return [page_text(_text(path)[0])]


def _damaged() -> Text:
    return Text(
        "读不出来：文件已损坏或没有传完，请在原来的程序里打开、另存一份再试",
        "cannot be read: it is damaged or incomplete; open it in its own program and save it again",
    )
