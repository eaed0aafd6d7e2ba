"""A job's log for a person: its last lines, its first error, search, a copy to download.

Reads only the ends and bounded pieces, so that a log of any size costs the same. A progress bar, which redraws itself
with carriage returns, counts as one line: its last state.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.ground.files import read_tail

TAIL_BYTES = 128_000
# Where to look for the first error: programs report it at the start, or at the end.
HEAD_BYTES, END_BYTES = 256_000, 2_000_000
SEARCH_BYTES = 64 << 20
_PIECE = 4 << 20
_MOST_LINE = 600
_RANK = r"(?:\[rank\d+\]:\s*)?"
_TRACEBACK = re.compile(rf"^{_RANK}Traceback \(most recent call last\):", re.MULTILINE)
_EXCEPTION = re.compile(rf"^{_RANK}(?!Traceback)[\w.]*(?:Error|Exception|Interrupt|Exit|Warning|OutOfMemory\w*)\b.*")
_ERROR = re.compile(
    r"CUDA error|CUDA out of memory|No space left on device|Segmentation fault|\b(?:ERROR|CRITICAL)\b|^\S*Error: |^Killed$",
    re.MULTILINE,
)
# Appears in every log on a machine without a GPU, and is not an error.
_NO_ERROR = re.compile(r"warn|version of bitsandbytes", re.IGNORECASE)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BAR = re.compile(r"^(?P<what>.*?)\s*\d+%\|.*\|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The result of a search, newest line first; to continue, search `before` this offset."""

    lines: tuple[str, ...]
    before: int
    size: int

    @property
    def whole(self) -> bool:
        """Whether the search reached the beginning of the log."""
        return self.before == 0


def last_lines(path: Path, most: int = 100) -> list[str]:
    """Return the last lines, at most `most`."""
    return _lines(read_tail(path, TAIL_BYTES))[-most:]


def first_error(path: Path) -> str | None:
    """Return the first error in the log's beginning or end: its traceback's last line, or the error line itself."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            head = file.read(HEAD_BYTES)
            file.seek(max(len(head), size - END_BYTES))
            end = file.read(END_BYTES)
    except FileNotFoundError:
        return None
    for piece in (head + end,) if size <= HEAD_BYTES + END_BYTES else (head, end):
        text = piece.decode("utf-8", errors="replace").replace("\r", "\n")
        traceback, told = _TRACEBACK.search(text), _first_line(text)
        if traceback and (told is None or traceback.start() <= told[0]):
            for line in text[traceback.end() :].splitlines():
                if _EXCEPTION.match(line):
                    return _short(line)
        if told:
            return _short(told[1])
    return None


def search(path: Path, words: str, *, before: int | None = None, most: int = 100) -> Found:
    """Search for lines that contain `words`, ignoring case, from the end towards the beginning.

    Reads at most 64 MB per call, backwards from byte `before`, and stops after `most` lines.
    """
    wanted = words.lower().encode()
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        size = 0
    end = size if before is None else min(before, size)
    start = max(0, end - SEARCH_BYTES)
    found: list[str] = []
    if wanted and end:
        with path.open("rb") as file:
            for at, piece in _pieces(file.fileno(), start, end):
                for place, line in _holding(piece, wanted):
                    found.append(_around(line, wanted))
                    if len(found) == most:
                        return Found(lines=tuple(found), before=at + place, size=size)
    return Found(lines=tuple(found), before=start if wanted else 0, size=size)


def copy(path: Path, most: int = 32 << 20) -> bytes:
    """Return the log for download: all of it, or the beginning and the end of a very long one."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size <= most:
                return file.read()
            head = file.read(most // 16)
            file.seek(size - (most - len(head)))
            end = file.read()
    except FileNotFoundError:
        return b""
    return head + f"\n\n… {size - most} B: {path} …\n\n".encode() + end


def _first_line(text: str) -> tuple[int, str] | None:
    """Return the first line that reports an error, and its position."""
    for match in _ERROR.finditer(text):
        start, end = text.rfind("\n", 0, match.start()) + 1, text.find("\n", match.end())
        line = text[start : end if end >= 0 else len(text)].strip()
        if not _NO_ERROR.search(line):
            return start, line
    return None


def _lines(text: str) -> list[str]:
    """Split text into lines, keeping only the last state of a redrawn line and of consecutive lines of one bar."""
    found: list[str] = []
    bar_before = None
    for whole in text.split("\n"):
        drawn = [part for part in _ESCAPES.sub("", whole).split("\r") if part.strip()]
        line = _short(drawn[-1].rstrip()) if drawn else ""
        match = _BAR.match(line)
        bar = match["what"] if match else None
        if bar is not None and bar == bar_before:
            found[-1] = line
        else:
            found.append(line)
        bar_before = bar
    while found and not found[-1]:
        found.pop()
    return found


def _pieces(descriptor: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes from `start` to `end`, last piece first; a line cut by a boundary goes to the piece before."""
    while end > start:
        at = max(start, end - _PIECE)
        piece = os.pread(descriptor, end - at, at)
        cut = piece.find(b"\n") + 1 if at > start else 0
        if cut == len(piece):
            # The piece is a single line: search it in pieces.
            cut = 0
        yield at + cut, piece[cut:]
        end = at + cut


def _holding(piece: bytes, wanted: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of `piece` that contain `wanted`, with their offsets, last first."""
    lowered = piece.lower()
    place = lowered.rfind(wanted)
    while place >= 0:
        start = max(piece.rfind(b"\n", 0, place), piece.rfind(b"\r", 0, place)) + 1
        ends = [end for end in (piece.find(b"\n", place), piece.find(b"\r", place)) if end >= 0]
        yield start, piece[start : min(ends, default=len(piece))]
        place = lowered.rfind(wanted, 0, start)


def _around(line: bytes, wanted: bytes) -> str:
    """Return a line; of a very long one the part around the words."""
    if len(line) > _MOST_LINE:
        place = line.lower().find(wanted)
        line = line[max(0, place - _MOST_LINE // 2) : place + _MOST_LINE // 2]
    return _ESCAPES.sub("", line.decode("utf-8", errors="replace")).strip()


def _short(line: str) -> str:
    return line if len(line) <= _MOST_LINE else line[:_MOST_LINE] + "…"
