"""Other people's shapes of chat data, turned into rows.

    xtuner    {"conversation": [{"input", "output"}, …]}
    openai    {"messages": [{"role", "content"}, …]}
    sharegpt  {"conversations": [{"from", "value"} or {"role", "content"} or {"human", "assistant"}, …], "system"?, "tools"?}
    alpaca    {"instruction", "input"?, "output", "history"?, "system"?}
    text      {"text"}, or a txt or md file by its paragraphs: for continued pre-training
    qa        a question and an answer: query/response, prompt/completion, 问/答 and the like, "history"? and "system"?

A row that cannot be used is reported with its number and reason; it never loses the file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.data.files.encoding import showable
from core.data.files.json_records import Unreadable
from core.data.files.shapes import (
    ANSWER,
    CONVERT,
    MENDED,
    QUESTION,
    SYSTEM,
    Columns,
    Unusable,
    chat_key,
    column,
    from_columns,
    is_chat,
    is_pair,
    listed,
    plain_name,
)
from core.data.files.source import Source
from core.data.row import Row, problem
from core.ground.errors import BadInput
from core.ground.text import Text

FORMATS = ("xtuner", "openai", "sharegpt", "alpaca", "text", "qa")
LOOKED_AT = 50


def check_format(name: str) -> None:
    """Raise BadInput for a format that we do not know."""
    if name not in ("auto", *FORMATS):
        raise BadInput(
            f"不认识的格式 {name}：可用 auto、{'、'.join(FORMATS)}",
            f"unknown format {name}: use auto, {', '.join(FORMATS)}",
        )


def chosen_format(source: Source, head: list[Any], format_: str = "auto", columns: Columns | None = None) -> str:
    """The format to read a file in. Raises BadInput where it is to be found and cannot be."""
    if not head:
        raise BadInput(f"{source.path.name} 里没有数据", f"{source.path.name} holds no data")
    if columns is not None:
        return "qa"
    if format_ != "auto":
        return format_
    found = detect(head)
    if found:
        return found
    name = source.path.name
    first = next((record for record in head if not isinstance(record, Unreadable)), head[0])
    if isinstance(first, Unreadable):
        raise BadInput(
            f"{name} 读不出来：第 1 行{first.reason.zh}", f"{name} cannot be read: row 1 is {first.reason.en}"
        )
    raise BadInput(
        f"认不出 {name} 的格式：第一行的字段是 {_keys(first)}，需要 conversation、messages、conversations、"
        "instruction/output 或 question/answer；也可以指明哪一列是问题、哪一列是回答",
        f"cannot tell the format of {name}: its first record has {_keys(first)}; expected conversation, messages, "
        "conversations, instruction/output or question/answer; or say which columns are the question and the answer",
    )


def none_usable(path: Path, count: int, first: dict[str, Any]) -> BadInput:
    """The refusal of a file of which no row can be used."""
    return BadInput(
        f"{path.name} 的 {count} 行都不能用，第 {first['row']} 行：{first['reason'].zh}",
        f"none of the {count} rows of {path.name} can be used; row {first['row']}: {first['reason'].en}",
    )


def detect(records: list[Any]) -> str | None:
    """The format that the first records have, None if it is none of ours."""
    for record in records[:LOOKED_AT]:
        if isinstance(record, list):
            return "openai" if is_chat(record) else "qa" if is_pair(record) else None
        if not isinstance(record, dict):
            continue
        chat = chat_key(record)
        turns = listed(record[chat]) if chat else None
        if isinstance(turns, list):
            if chat == "conversation" and turns and isinstance(turns[0], dict) and "output" in turns[0]:
                return "xtuner"
            if chat == "messages":
                return "openai"
            return "xtuner" if chat == "conversation" and not is_chat(turns) else "sharegpt"
        if "instruction" in record and "output" in record:
            return "alpaca"
        named = {plain_name(key) for key in record}
        question, answer = column(record, QUESTION), column(record, ANSWER)
        if question and answer and question != answer:
            return "qa"
        if "text" in named or list(named) == ["content"]:
            return "text"
    return None


def guessed_columns(head: list[Any]) -> tuple[list[str], Columns | None]:
    """The columns of a file's first records, and which of them are question and answer, as far as can be told."""
    names = list(
        dict.fromkeys(
            key for record in head if isinstance(record, dict) for key in record if key and showable(key) == key
        )
    )
    record = dict.fromkeys(names)
    question, answer = column(record, QUESTION), column(record, ANSWER)
    if question is None or answer is None or question == answer:
        if len(names) != 2:
            return names, None
        question, answer = names
    return names, Columns(question=question, answer=answer, system=column(record, SYSTEM))


def converter(
    format_: str, head: list[Any], columns: Columns | None = None
) -> Callable[[Any], tuple[Row | None, Text | None]]:
    """What turns a record of `format_` into a row and, where its turns were out of order, says what was done about it.

    For a record that is no row it says why.
    """
    convert = CONVERT[format_]
    if columns is not None:
        chosen = columns

        def convert(record: Any) -> Row:
            return from_columns(record, chosen)

    loss = any(_has_loss(record) for record in head)

    def checked(record: Any) -> tuple[Row | None, Text | None]:
        if isinstance(record, Unreadable):
            return None, record.reason
        try:
            row = convert(record)
        except Unusable as unusable:
            return None, unusable.text
        except KeyError as error:
            key = showable(str(error.args[0])[:40])
            return None, Text(f"不是 {format_} 格式：缺少 {key}", f"not {format_}: there is no {key}")
        except (TypeError, ValueError, AttributeError):
            return None, Text(
                f"不是 {format_} 格式：内容的样子不对（{_keys(record)}）",
                f"not {format_}: it has another shape ({_keys(record)})",
            )
        mended = row.pop(MENDED, None)
        reason = problem(row)
        if reason:
            return None, reason
        told = Text("；".join(text.zh for text in mended), "; ".join(text.en for text in mended)) if mended else None
        return (_with_loss(row) if loss else row), told

    return checked


def _has_loss(record: Any) -> bool:
    key = chat_key(record) if isinstance(record, dict) else None
    turns = listed(record[key]) if key else None
    return isinstance(turns, list) and any(
        isinstance(turn, dict) and ("loss" in turn or "output_with_loss" in turn) for turn in turns
    )


def _with_loss(row: Row) -> Row:
    """Every turn says whether it is trained on: one that did not would count as one that is not."""
    for turn in row["conversation"]:
        turn.setdefault("output_with_loss", True)
    return row


def _keys(record: Any) -> str:
    if not isinstance(record, dict):
        return type(record).__name__
    return showable(", ".join(str(key)[:40] for key in list(record)[:8]))
