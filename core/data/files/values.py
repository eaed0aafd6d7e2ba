"""Converts the value of a field to text: numbers and booleans are written out, missing values are empty."""

import json
import math
from datetime import date, datetime, time
from typing import Any

from core.data.files.encoding import showable
from core.data.files.notes import Notes
from core.ground.text import Text

# What programs write for a missing value. A text that consists only of this is empty.
BLANK = frozenset(
    "nan NaN NAN NaT <NA> #N/A #VALUE! #REF! #DIV/0! #NAME? #NULL! #NUM! inf -inf Infinity -Infinity".split()
)
# Also empty in an optional field; nobody answers with these.
_NONE = frozenset(("null", "NULL", "None", "none", "(null)", "\\N", "N/A", "n/a"))
LONGEST_BLANK = max(map(len, BLANK))


class Unusable(Exception):
    """A record that is not a conversation; `text` says why."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.text = Text(showable(zh), showable(en))


def is_blank(value: Any) -> bool:
    """Return whether a value is missing: null, NaN or infinite, or a text that says so."""
    if isinstance(value, str):
        return len(value) <= LONGEST_BLANK and value.strip() in BLANK
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def text_of(value: Any, notes: Notes) -> str:
    """Return a value as text and note what was changed. Raises Unusable if it is not text."""
    if isinstance(value, str):
        if len(value) <= LONGEST_BLANK and value.strip() in BLANK:
            notes.note("blank")
            return ""
        return value
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        notes.note("blank")
        return ""
    if isinstance(value, bool | int | float):
        notes.note("scalar")
        return json.dumps(value)
    if isinstance(value, date | datetime | time):
        notes.note("scalar")
        return moment_text(value)
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        notes.note("joined")
        return "\n".join(value)
    raise Unusable(f"内容不是文字而是 {type(value).__name__}", f"the content is {type(value).__name__}, not text")


def optional_text(value: Any, notes: Notes) -> str:
    """Return the text of an optional field."""
    if isinstance(value, str) and len(value) <= LONGEST_BLANK and value.strip() in _NONE:
        return ""
    return text_of(value, notes)


def moment_text(value: date | datetime | time) -> str:
    """Format a date or time for people, without the midnight that a spreadsheet adds to every date."""
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()


def holds_text(value: Any, depth: int = 4) -> bool:
    """Return whether a value contains any text, itself or nested."""
    if isinstance(value, str):
        return bool(value.strip()) and not is_blank(value)
    if depth and isinstance(value, dict):
        return any(holds_text(part, depth - 1) for part in list(value.values())[:50])
    if depth and isinstance(value, list):
        return any(holds_text(part, depth - 1) for part in value[:50])
    return False
