"""Shows foreign text (answers, names, files) within Markdown literally: never as markup, links or images."""

import re

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


# Icons instead of emojis, because not every machine has a font for these.
DONE = ":material/check_circle:"
PENDING = ":material/radio_button_unchecked:"
WRONG = ":material/cancel:"


def tick(right: bool, *, pending: bool = False) -> str:
    """Return an icon for yes or no, or for done and pending."""
    if right:
        return f":green[{DONE}]"
    return f":gray[{PENDING}]" if pending else f":red[{WRONG}]"


def plain(text: str, highlight: str | None = None) -> str:
    """Return `text` on one line with all punctuation escaped and the word `highlight` emphasized."""
    line = " ".join(text.split())
    if not highlight or highlight not in line:
        return escaped(line)
    return f":green-background[{escaped(highlight)}]".join(map(escaped, line.split(highlight)))


def escaped(text: str) -> str:
    """Return `text` with all punctuation escaped and its lines kept."""
    return _PUNCTUATION.sub(r"\\\1", text)
