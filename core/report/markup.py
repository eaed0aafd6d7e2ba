"""Pieces of Markdown: tables, code, pictures; what others wrote in them is shown as it is."""

from collections.abc import Sequence

_MARKS = "\\|*_`<>[]&~"


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
