"""A single edit of a draft: its line in the file, and its effect on a row if it applies to all rows."""

import json
import re
from typing import Any, Literal

from core.data.files.special_tokens import stripped_row
from core.data.looks import CONTROL
from core.data.row import Row

Part = Literal["all", "input", "output", "system"]
PARTS = ("system", "input", "output")


def changed(row: Row, edit: dict[str, Any]) -> Row:
    """Return a row after an edit of all rows."""
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
    """Return the pattern that finds the text of a replacement literally."""
    return re.compile(re.escape(edit["find"]), 0 if edit["case"] else re.IGNORECASE)


def may_empty(edit: dict[str, Any]) -> bool:
    """Return whether an edit of all rows may leave an answer empty."""
    return edit["edit"] in ("clean", "strip") or not edit["put"].strip()


def line_of(edit: dict[str, Any]) -> str:
    """Return an edit as a line of the draft's file."""
    return json.dumps(edit, ensure_ascii=False) + "\n"


def edit_of(line: str) -> dict[str, Any] | None:
    """Parse a line of the draft's file; None if it is not an edit."""
    try:
        edit = json.loads(line)
    except ValueError:
        return None
    return edit if isinstance(edit, dict) and "edit" in edit else None
