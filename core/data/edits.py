"""One edit of a draft: as a line of its file, and what one that goes over all rows makes of a row."""

import json
import re
from typing import Any, Literal

from core.data.files.special_tokens import stripped_row
from core.data.looks import CONTROL
from core.data.row import Row

Part = Literal["all", "input", "output", "system"]
PARTS = ("system", "input", "output")


def changed(row: Row, edit: dict[str, Any]) -> Row:
    """A row after an edit of all rows."""
    if edit["edit"] == "strip":
        return stripped_row(row)
    if edit["edit"] == "clean":
        pattern, put, parts = CONTROL, "", PARTS
    else:
        pattern, put = pattern_of(edit), edit["put"].replace("\\", "\\\\")
        parts = PARTS if edit["part"] == "all" else (edit["part"],)
    turns = [
        {key: pattern.sub(put, value) if key in parts else value for key, value in turn.items()}
        for turn in row["conversation"]
    ]
    return {"conversation": turns}


def pattern_of(edit: dict[str, Any]) -> re.Pattern[str]:
    """What finds the text of a replacement, taken by the letter."""
    return re.compile(re.escape(edit["find"]), 0 if edit["case"] else re.IGNORECASE)


def may_empty(edit: dict[str, Any]) -> bool:
    """Whether an edit of all rows may leave one without an answer."""
    return edit["edit"] in ("clean", "strip") or not edit["put"].strip()


def line_of(edit: dict[str, Any]) -> str:
    """An edit as a draft keeps it."""
    return json.dumps(edit, ensure_ascii=False) + "\n"


def edit_of(line: str) -> dict[str, Any] | None:
    """The edit that a line holds; None where it holds none."""
    try:
        edit = json.loads(line)
    except ValueError:
        return None
    return edit if isinstance(edit, dict) and "edit" in edit else None
