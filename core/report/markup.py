"""Building blocks of Markdown: tables, code, images; foreign text in them is shown literally."""

from collections.abc import Sequence

_MARKS = "\\|*_`<>[]&~"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose cells are Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def code(text: str, language: str) -> str:
    """Return a code block; its fence is longer than any within the text."""
    fence = "`" * 4
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


def picture(caption: str, file: str) -> str:
    """Return an image next to the text."""
    return f"![{escaped(caption)}]({file})"


def escaped(text: str) -> str:
    """Escape text for a line of Markdown or a table cell."""
    marked = "".join("\\" + character if character in _MARKS else character for character in text)
    return " ".join(marked.split()) or "…"
