"""A text as records: the dialogues of a dialogue, the messages of a chat log, or the paragraphs of prose."""

import re
from collections.abc import Iterator
from typing import Any, TextIO

from core.data.files import chatlog_text, dialogue
from core.data.files.json_records import MOST_CHARACTERS, too_long

# Characters inspected to decide what a text is.
_LOOKED_AT = 1 << 16


def is_spoken(text: str) -> bool:
    """Return whether the beginning of a text is a dialogue or a chat log."""
    head = text[:_LOOKED_AT]
    return chatlog_text.style_of(head) is not None or dialogue.layout_of(_whole(head, text)) is not None


def text_records(text: TextIO, format_: str) -> Iterator[Any]:
    """Yield the dialogues, messages or paragraphs of a seekable text."""
    if format_ == "text":
        yield from _paragraphs(text)
        return
    head = text.read(_LOOKED_AT)
    head = _whole(head.replace("\r\n", "\n").replace("\r", "\n"), head if len(head) < _LOOKED_AT else head + " ")
    text.seek(0)
    style = chatlog_text.style_of(head)
    layout = None if style and style is not chatlog_text.SPOKEN else dialogue.layout_of(head)
    if layout and format_ != "log":
        yield from dialogue.dialogues(_lines(text), *layout)
    elif style and format_ != "dialogue":
        yield from chatlog_text.messages(_lines(text), style)
    else:
        yield from _paragraphs(text)


def _whole(head: str, text: str) -> str:
    """Return the beginning of a longer text up to its last complete line."""
    return head if len(head) >= len(text) else head[: head.rfind("\n") + 1] or head


def _lines(text: TextIO) -> Iterator[str]:
    for number, line in enumerate(iter(lambda: text.readline(MOST_CHARACTERS), ""), 1):
        if len(line) >= MOST_CHARACTERS:
            raise too_long(number)
        yield re.sub(r"\r\n?", "\n", line)


def _paragraphs(text: TextIO) -> Iterator[dict[str, str]]:
    """Yield the parts of a text separated by blank lines."""
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
