"""Recognizes what a record is before it becomes a row: a list of messages, a pair, a wrapper around a record."""

import json
from typing import Any

from core.data.files.fields import Layout, layout_of

# Keys of a nested object that holds the content, next to metadata.
WRAPPERS = ("data", "row", "fields", "record", "item", "_source", "json", "sample", "example", "input_output")


def unwrapped(record: dict[str, Any]) -> dict[str, Any]:
    """Return the nested object that holds a record's content, as annotation tools write it; else the record."""
    for key in WRAPPERS:
        held = record.get(key)
        if isinstance(held, dict) and held:
            inner, outer = layout_of(held), layout_of(record)
            if (inner.is_qa or inner.chats or inner.text) and not (outer.is_qa or outer.chats or outer.text):
                return held
    return record


def chat_key(record: dict[str, Any], layout: Layout | None = None) -> str | None:
    """Return the key of a record's turns."""
    chats = layout.chats if layout else layout_of(record).chats
    return next((key for key in chats if not _is_text(record[key])), None)


def listed(value: Any) -> Any:
    """Parse a list that a table stores as JSON text; other values are returned unchanged."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def is_chat(value: Any) -> bool:
    """Return whether a value is a list of messages with roles, or of one object per turn."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return False
    return bool({"from", "role", "speaker", "sender"} & set(value[0])) or "output" not in value[0]


def is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _is_text(value: Any) -> bool:
    """Return whether a column named like a conversation contains plain text."""
    return isinstance(value, str) and not value.lstrip().startswith(("[", "{"))
