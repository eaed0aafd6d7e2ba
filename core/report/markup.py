"""Pieces of Markdown: tables, code, pictures, directory trees; what others wrote in them is shown as it is."""

from collections.abc import Sequence
from pathlib import Path

_MARKS = "\\|*_`<>[]&~"
MOST_FILES = 40


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def code(text: str, language: str) -> str:
    """A block of code; its fence is longer than any that stands in it."""
    fence = "`" * 4
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


def picture(caption: str, file: str) -> str:
    """A picture that lies beside the text."""
    return f"![{escaped(caption)}]({file})"


def escaped(text: str) -> str:
    """Text as it is, in one line of Markdown or a cell of a table."""
    marked = "".join("\\" + character if character in _MARKS else character for character in text)
    return " ".join(marked.split()) or "…"


def tree(root: Path, depth: int = 2) -> str:
    """The files below `root` as the command `tree` draws them, sizes behind them; what is hidden is left out."""
    lines = [f"{root.name}/"]
    _branches(root, "", depth, lines)
    if len(lines) > MOST_FILES:
        lines[MOST_FILES:] = [f"… ({len(lines) - MOST_FILES})"]
    return "\n".join(lines)


def _branches(directory: Path, before: str, depth: int, lines: list[str]) -> None:
    try:
        found = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError:
        return
    for number, path in enumerate(found):
        last = number == len(found) - 1
        inside = path.is_dir() and not path.is_symlink()
        note = "/" if inside else f" -> {path.readlink()}" if path.is_symlink() else f"  ({size(path.stat().st_size)})"
        lines.append(f"{before}{'└── ' if last else '├── '}{path.name}{note}")
        if inside and depth > 1:
            _branches(path, before + ("    " if last else "│   "), depth - 1, lines)


def size(count: float) -> str:
    """Bytes as kB, MB or GB, in powers of ten."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count:.0f} B"
