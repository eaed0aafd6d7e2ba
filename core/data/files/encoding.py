"""Detects the encoding of a text file without loading it: UTF-8, UTF-16, UTF-32, GB18030, Windows-1252.

A file that is UTF-8 except for a few broken bytes is read as UTF-8; the rows that contain them are reported
individually.
"""

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from core.ground.errors import BadInput

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Small enough for the allocator to reuse: a third faster than chunks of several megabytes.
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Encoding:
    """Python's name of an encoding and its error handler.

    `errors` is `strict`, or keeps broken bytes as surrogates so that they can be reported. If not `sure`, only the
    beginning was checked.
    """

    name: str
    errors: str = "strict"
    sure: bool = True

    @property
    def utf8(self) -> bool:
        return self.name.startswith("utf-8")


def encoding_of(path: Path, whole: bool = True) -> Encoding:
    """Detect the encoding of the text file at `path` by reading it once. Raises BadInput if none fits.

    Without `whole`, UTF-8 is decided by the beginning only, for a reader that detects errors later.
    """
    with path.open("rb") as file:
        head = file.read(65536)
        marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
        names = [marked] if marked else [name for name in (_unmarked_utf16(head), "utf-8") if name]
        for name in names:
            if not whole and name.startswith("utf-8") and _begins_as_utf8(head):
                return Encoding(name, sure=False)
            if _fits(file, name):
                return Encoding(name)
        if "utf-8" in names and _nearly_utf8(head):
            return Encoding("utf-8", "surrogateescape")
        if not marked:
            for name in ("gb18030", "cp1252"):
                if _fits(file, name):
                    return Encoding(name)
    raise BadInput(
        f"{path.name} 的文件编码无法识别：请另存为 UTF-8", f"unknown encoding of {path.name}: save it as UTF-8"
    )


def showable(text: str) -> str:
    """Return `text` with lone surrogates, which can be neither written nor shown, as escapes: `\\ud83d`."""
    return text.encode("utf-8", "backslashreplace").decode()


def _unmarked_utf16(head: bytes) -> str | None:
    """Detect UTF-16 without a BOM by the zero bytes of ASCII characters, all at odd or all at even offsets."""
    if len(head) < 4 or len(head) % 2 and len(head) < 65536:
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    few = len(head) // 50
    if odd > few and odd > 20 * even:
        return "utf-16-le"
    return "utf-16-be" if even > few and even > 20 * odd else None


def _fits(file: BinaryIO, name: str) -> bool:
    file.seek(0)
    decoder = codecs.getincrementaldecoder(name)()
    try:
        while block := file.read(_CHUNK):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _begins_as_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _nearly_utf8(head: bytes) -> bool:
    """Return whether a text is UTF-8 with a few broken bytes: more than twenty valid characters per broken byte."""
    decoded = head.decode("utf-8", errors="surrogateescape")
    broken = sum("\udc80" <= character <= "\udcff" for character in decoded)
    whole = sum(ord(character) > 0x7F for character in decoded) - broken
    return whole > 20 * broken
