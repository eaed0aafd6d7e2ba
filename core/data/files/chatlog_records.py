"""Messages of a chat log in a table or JSON: columns for speaker, text and time are found by their names.

Reads exports of WeChat, Telegram, QQ and Discord, and any table with a speaker, a text and a time.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.data.files.chatlog import ME, Message, number_of
from core.data.files.chatlog_text import when
from core.data.files.fields import layout_of, plain_name
from core.data.files.messages import has_role

_SPEAKER = (
    "talker sender speaker role author from nickname sendername fromuser username fromname who person name user remark "
    "发送者 发送人 发言人 说话人 讲话人 发件人 昵称 用户名 角色 姓名 备注"
).split()
_TEXT = "msg message content text strcontent body messagetext 消息 内容 消息内容 聊天内容 发言 文本".split()
_TIME = (
    "createtime strtime timestamp time datetime date sent sentat sendtime createdat msgtime 时间 发送时间 日期 消息时间"
).split()
_OWN = "issender issend isself fromme isme isfromme isown 是否自己 是否发送".split()
_KIND = "typename msgtype messagetype type 类型 消息类型".split()
_ROOM = "roomname room chat chatid chatname conversationid sessionid group groupname channel threadid 群 群聊 会话 频道".split()
# Column names by role, also used for the documentation.
COLUMNS = {"who": _SPEAKER, "what": _TEXT, "when": _TIME, "own": _OWN, "kind": _KIND, "room": _ROOM}
_TEXT_KINDS = frozenset(("", "文本", "文字", "text", "1", "message", "default", "reply", "txt", "文本消息"))
_LONG = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class LogColumns:
    """The columns of a log by role."""

    text: str
    speaker: str | None
    time: str | None
    own: str | None
    kind: str | None
    room: str | None


def log_columns(head: list[Any]) -> LogColumns | None:
    """Return the columns of a chat log from its first records; None if they are not a chat log."""
    records = [record for record in head if isinstance(record, dict)]
    if not records or layout_of(records[0]).is_qa:
        return None
    keys = list(dict.fromkeys(key for record in records for key in record))
    text, speaker, time, own, kind, room = (
        _column(keys, names) for names in (_TEXT, _SPEAKER, _TIME, _OWN, _KIND, _ROOM)
    )
    if text is None or not (own or speaker) or text == speaker:
        return None
    found = LogColumns(text=text, speaker=speaker, time=time, own=own, kind=kind, room=room)
    said = [message for record in records if (message := message_of(record, found)) and message.text]
    if own is None:
        names = Counter(message.speaker for message in said)
        # Articles also have an author, a date and a text, but their texts are long and authors rarely repeat.
        again = sum(count for count in names.values() if count > 1)
        if len(names) < 2 or again < 0.5 * len(said) or {plain_name(key) for key in keys} & {"title", "标题", "url"}:
            return None
        if all(has_role(name) for name in names) and not room and not time:
            return None
    if not said or sum(len(message.text) for message in said) > _LONG * len(said):
        return None
    return found


def message_of(record: dict[str, Any], columns: LogColumns) -> Message:
    """Convert a record to a message; it has no text if it is not a text message."""
    own = columns.own is not None and str(record.get(columns.own)).strip().lower() in ("1", "1.0", "true", "是", "yes")
    speaker = _name(record.get(columns.speaker)) if columns.speaker else ""
    if columns.own and not speaker:
        speaker = ME if own else "对方"
    kind = str(record.get(columns.kind) or "").strip().lower() if columns.kind else ""
    textual = kind in _TEXT_KINDS or "文本" in kind or "引用" in kind
    text = _text(record.get(columns.text)) if textual else ""
    room = str(record.get(columns.room) or "") if columns.room else ""
    moment = record.get(columns.time) if columns.time else None
    return Message(speaker, text, _moment(moment), room, own)


def nested(record: Any) -> list[list[dict[str, Any]]]:
    """Return the lists of messages in an export object, one per chat; empty if there are none."""
    if not isinstance(record, dict):
        return []
    held = record.get("messages")
    if isinstance(held, list) and any(isinstance(m, dict) and {"date", "timestamp"} & set(m) for m in held[:20]):
        return [[{**m, "room": str(record.get("name") or record.get("id") or "")} for m in held if isinstance(m, dict)]]
    chats = record.get("chats")
    chats = chats.get("list") if isinstance(chats, dict) else chats
    if isinstance(chats, list):
        return [found for chat in chats for found in nested(chat)]
    return []


def records_of(record: Any) -> Iterator[dict[str, Any]]:
    """Yield the message records: those nested in the record, else the record itself."""
    inner = nested(record)
    if inner:
        for messages in inner:
            yield from messages
    elif isinstance(record, dict):
        yield record


def _column(keys: list[Any], names: list[str]) -> str | None:
    spelled = {plain_name(key): key for key in reversed(keys)}
    return next((spelled[name] for name in names if name in spelled), None)


def _name(value: Any) -> str:
    if isinstance(value, dict):
        value = next((value[key] for key in ("nickname", "name", "username", "id") if value.get(key)), "")
    return str(value).strip() if value is not None else ""


def _text(value: Any) -> str:
    """Return the text of a message; Telegram mixes strings with objects for links and the like."""
    if isinstance(value, list):
        return "".join(_text(part) for part in value)
    if isinstance(value, dict):
        return _text(value.get("text") or value.get("content") or "")
    return "" if value is None else str(value)


def _moment(value: Any) -> float | None:
    if isinstance(value, datetime):
        return value.timestamp()
    number = number_of(value)
    return number if number is not None else when(value) if isinstance(value, str) else None
