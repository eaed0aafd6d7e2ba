"""Placeholders in other projects' identity data, to be filled with the names of the assistant and its maker.

LLaMA-Factory writes {{name}} and {{author}} (formerly <NAME> and <AUTHOR>), ms-swift {{NAME}} and {{AUTHOR}}.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from core.data.row import Row

_NAMES = ("name", "assistant", "assistant_name", "model_name", "bot_name", "nickname")
_MAKERS = ("author", "maker", "developer", "company", "owner", "creator")
_ANY = re.compile(r"\{\{\s*(\w+)\s*\}\}|<(NAME|AUTHOR)>|\[(NAME|AUTHOR)\]|\{(name|author|assistant|maker)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """Values for placeholders: the assistant's `name` and its `author`; empty leaves the placeholder as it is."""

    name: str = ""
    author: str = ""

    def __bool__(self) -> bool:
        return bool(self.name or self.author)

    def text(self, text: str) -> str:
        """Return `text` with the placeholders filled in."""
        return _ANY.sub(self._value, text)

    def row(self, row: Row) -> Row:
        """Return the row with all its texts filled in."""
        parts = ("system", "input", "output")
        return {
            "conversation": [
                {key: self.text(value) if key in parts else value for key, value in turn.items()}
                for turn in row["conversation"]
            ]
        }

    def _value(self, found: re.Match[str]) -> str:
        key = next(group for group in found.groups() if group).lower()
        value = self.name if key in _NAMES else self.author if key in _MAKERS else ""
        return value or found[0]


def placeholders(rows: Iterable[Row]) -> list[str]:
    """Return the unique placeholders of rows, as written."""
    texts = (turn[part] for row in rows for turn in row["conversation"] for part in ("input", "output"))
    return list(dict.fromkeys(found[0] for text in texts for found in _ANY.finditer(text)))
