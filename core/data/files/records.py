"""What a record looks like before it is turned into a row: a list of messages, a pair, one that holds another."""

import json
from typing import Any

from core.data.files.fields import Layout, layout_of

# A record that holds what it is about in one object, beside what a program noted.
WRAPPERS = ("data", "row", "fields", "record", "item", "_source", "json", "sample", "example", "input_output")


def unwrapped(record: dict[str, Any]) -> dict[str, Any]:
    """What a record holds in one object of its own, as an annotation tool writes it; else the record itself."""
    for key in WRAPPERS:
        held = record.get(key)
        if isinstance(held, dict) and held:
            inner, outer = layout_of(held), layout_of(record)
            if (inner.is_qa or inner.chats or inner.text) and not (outer.is_qa or outer.chats or outer.text):
                return held
    return record


def chat_key(record: dict[str, Any], layout: Layout | None = None) -> str | None:
    """The key of a record that holds its turns."""
    chats = layout.chats if layout else layout_of(record).chats
    return next((key for key in chats if not _is_text(record[key])), None)


def listed(value: Any) -> Any:
    """A list, also one that a table holds as JSON text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def is_chat(value: Any) -> bool:
    """Whether a value is a list of messages with roles, or of one object a turn."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return False
    return bool({"from", "role", "speaker", "sender"} & set(value[0])) or "output" not in value[0]


def is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _is_text(value: Any) -> bool:
    """Whether a column named like a conversation is only text."""
    return isinstance(value, str) and not value.lstrip().startswith(("[", "{"))
