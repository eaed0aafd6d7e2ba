"""Text of others (answers, names, files) inside Markdown: shown as it is, never as markup, links to pictures included."""

import re

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


# Icons rather than emoji, which not every machine has a font for.
DONE = ":material/check_circle:"
PENDING = ":material/radio_button_unchecked:"
WRONG = ":material/cancel:"


def tick(right: bool, *, pending: bool = False) -> str:
    """An icon for yes or no, or for done and not yet."""
    if right:
        return f":green[{DONE}]"
    return f":gray[{PENDING}]" if pending else f":red[{WRONG}]"


def plain(text: str, highlight: str | None = None) -> str:
    """`text` on one line with every mark escaped; the word `highlight` in it stands out."""
    line = " ".join(text.split())
    if not highlight or highlight not in line:
        return escaped(line)
    return f":green-background[{escaped(highlight)}]".join(map(escaped, line.split(highlight)))


def escaped(text: str) -> str:
    """`text` with every mark escaped, its lines kept."""
    return _PUNCTUATION.sub(r"\\\1", text)
