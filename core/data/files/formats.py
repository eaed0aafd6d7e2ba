"""Other people's shapes of chat data, turned into rows.

    xtuner    {"conversation": [{"input", "output"}, …]}
    openai    {"messages": [{"role", "content"}, …]}
    sharegpt  {"conversations": [{"from", "value"} or {"role", "content"} or {"human", "assistant"}, …], "system"?, "tools"?}
    alpaca    {"instruction", "input"?, "output", "history"?, "system"?}
    text      {"text"}, or a txt or md file by its paragraphs: for continued pre-training
    qa        a question and an answer: query/response, prompt/completion, 问/答 and similar, "history"? and "system"?
    dialogue  turns written as text, in a field, a cell or a document: 问：… 答：…, ### Human: …
    log       who said what and when: exported chats, as tables or text

A row that cannot be used is reported with its number and reason; it never loses the file.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from core.data.files import chatlog
from core.data.files.chatlog import Message
from core.data.files.chatlog_records import LogColumns, log_columns, message_of, nested, records_of
from core.data.files.choices import Choices
from core.data.files.dialogue import Dialogue, recognise
from core.data.files.encoding import showable
from core.data.files.fields import kind_of, layout_of
from core.data.files.json_records import Unreadable
from core.data.files.messages import MENDED, answers
from core.data.files.notes import Notes
from core.data.files.preferences import is_preference
from core.data.files.records import chat_key, is_chat, is_pair, listed, unwrapped
from core.data.files.shapes import Columns, Converters, Unusable, mended_text
from core.data.files.source import Source
from core.data.files.special_tokens import stripped_row
from core.data.row import Row
from core.data.rows_file import line_of, written
from core.ground.errors import BadInput
from core.ground.text import Text

FORMATS = ("xtuner", "openai", "sharegpt", "alpaca", "text", "qa", "dialogue", "log")
LOOKED_AT = 50
# Messages of a log read to find its speakers.
LOOKED_AT_MESSAGES = 2000
# A record's number; the line of its row, or the record itself if unusable; its row; how the row was fixed, or why it is
# unusable.
Result = tuple[int, Any, Row | None, Text | None]


class LateLoss(Exception):
    """A row says whether it is trained on after rows that did not: all must say so, so the file is read again."""


def check_format(name: str) -> None:
    """Raise BadInput for an unknown format."""
    if name not in ("auto", *FORMATS):
        raise BadInput(
            f"不认识的格式 {name}：可用 auto、{'、'.join(FORMATS)}",
            f"unknown format {name}: use auto, {', '.join(FORMATS)}",
        )


def chosen_format(source: Source, head: list[Any], format_: str = "auto", columns: Columns | None = None) -> str:
    """Return the format to read a file in. Raises BadInput if it has to be detected and cannot be."""
    if not head:
        raise BadInput(f"{source.path.name} 里没有数据", f"{source.path.name} contains no data")
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
    no_header = Text("", "")
    if source.kind in ("csv", "tsv", "xlsx"):
        no_header = Text("；若没有表头，就加一行：问题、回答", "; if there is no header, add one: question, answer")
    raise BadInput(
        f"认不出 {name} 的格式：第一行的字段是 {_keys(first)}，需要 conversation、messages、conversations、"
        f"instruction/output 或 question/answer；也可以指明哪一列是问题、哪一列是回答（--question、--answer）{no_header.zh}",
        f"unknown format of {name}: its first record has {_keys(first)}; expected conversation, messages, "
        f"conversations, instruction/output or question/answer; or name the question and answer columns (--question, --answer){no_header.en}",
    )


def none_usable(path: Path, count: int, first: tuple[int, Text] | None) -> BadInput:
    """Return the error for a file without a usable row: the first unusable row, and why."""
    if first is None:
        return BadInput(f"{path.name} 里没有一问一答", f"{path.name} contains no question with an answer")
    number, reason = first
    return BadInput(
        f"{path.name} 的 {count} 行都不能用，第 {number} 行：{reason.zh}",
        f"none of the {count} rows of {path.name} are usable; row {number}: {reason.en}",
    )


def detect(records: list[Any]) -> str | None:
    """Return the format of the first records; None if it is not supported."""
    if any(isinstance(record, Message) for record in records):
        return "log"
    for record in records[:LOOKED_AT]:
        if isinstance(record, Dialogue):
            return "dialogue"
        if isinstance(record, list) and (is_chat(record) or is_pair(record)):
            return "openai" if is_chat(record) else "qa"
        if isinstance(record, dict):
            found = _of_record(unwrapped(record))
            if found:
                return found
    if log_columns(records):
        return "log"
    texts = [text for record in records for text in _texts(record)]
    if texts and sum(recognise(text) is not None for text in texts) >= 0.5 * len(texts):
        return "dialogue"
    if any(isinstance(record, dict) and layout_of(record).text for record in records):
        return "text"
    return None


def _of_record(record: dict[str, Any]) -> str | None:
    if nested(record):
        return "log"
    layout = layout_of(record)
    chat = chat_key(record, layout)
    turns = listed(record[chat]) if chat else None
    if isinstance(turns, list):
        if chat == "conversation" and turns and isinstance(turns[0], dict) and "output" in turns[0]:
            return "xtuner"
        if chat == "messages":
            return "openai"
        return "xtuner" if chat == "conversation" and not is_chat(turns) else "sharegpt"
    if isinstance(turns, dict) and turns and all(isinstance(turn, dict) for turn in turns.values()):
        return "sharegpt"
    if "instruction" in record and "output" in record:
        return "alpaca"
    return "qa" if layout.is_qa or is_preference(layout, tuple(record)) else None


def _texts(record: Any) -> Iterator[str]:
    """Yield the text of a record that may be a dialogue: its text field, else its longest string."""
    if isinstance(record, str):
        yield record
    if not isinstance(record, dict):
        return
    layout = layout_of(record)
    held = [record[key] for key in (layout.text, *layout.chats) if key]
    held = held or [value for value in record.values() if isinstance(value, str)]
    found = [text for text in held if isinstance(text, str) and text.strip()]
    if found:
        yield max(found, key=len)


def guessed_columns(head: list[Any]) -> tuple[list[str], Columns | None]:
    """Return the columns of a file's first records, and a guess which are question and answer."""
    names = list(
        dict.fromkeys(
            key for record in head if isinstance(record, dict) for key in record if key and showable(key) == key
        )
    )
    layout = layout_of(names)
    question, answer = layout.question, layout.answer
    if not layout.is_qa:
        if len(names) != 2:
            return names, None
        question, answer = names
    return names, Columns(question=question, answer=answer, system=layout.system)


def names_tell(names: list[str]) -> bool:
    """Return whether column names identify question and answer; otherwise the order of the columns decides."""
    return layout_of(names).is_qa


def log_of(head: list[Any], records: Iterable[Any]) -> tuple[list[Message], Iterator[Message]]:
    """Return the first messages of a log, to find its speakers, and an iterator over all of them."""
    flat = [part for record in head for part in _parts(record)]
    columns = None if any(isinstance(part, Message) for part in flat) else log_columns(flat)
    messages = _messages(chain(head, records), columns)
    first = list(islice(messages, LOOKED_AT_MESSAGES))
    return first, chain(first, messages)


def _messages(records: Iterable[Any], columns: LogColumns | None) -> Iterator[Message]:
    for record in records:
        for part in _parts(record):
            if isinstance(part, Message):
                yield part
            elif columns and isinstance(part, dict):
                yield message_of(part, columns)


def _parts(record: Any) -> Iterable[Any]:
    return [record] if isinstance(record, Message) else records_of(record)


def speaker_of(path: Path, first: list[Message], choices: Choices) -> str:
    """Return who is the assistant of a log: as chosen or as its roles say. Raises BadInput if the user must choose."""
    found = chatlog.speakers(first)
    guess = chatlog.guessed_speaker(first)
    if choices.speaker or (guess and answers(guess)):
        return choices.speaker or guess
    raise BadInput(
        f"{path.name} 是聊天记录：谁是助手？用 --speaker 指明其中一位：{chatlog.told(found)}",
        f"{path.name} is a chat log: name the assistant with --speaker: {chatlog.told(found, ', ')}",
    )


def log_results(messages: Iterable[Message], speaker: str, choices: Choices, notes: Notes) -> Iterator[Result]:
    """Yield the numbered conversations of a log."""
    for number, row in enumerate(chatlog.conversations(messages, speaker, choices, notes), 1):
        row = _stripped(row, notes) if choices.strip else row
        line, reason = written(row)
        yield (number, line, row, None) if reason is None else (number, row, None, reason)


def results(
    format_: str,
    head: list[Any],
    records: Iterable[Any],
    choices: Choices,
    notes: Notes,
    *,
    columns: Columns | None = None,
    loss: bool = False,
) -> Iterator[Result]:
    """Yield each record's number with its line, its row and how it was fixed; or without a row, and why it is unusable.

    With `loss`, every turn says whether it is trained on. Raises LateLoss if that turns out to be needed.
    """
    converters = Converters(choices, notes, columns)
    loss = loss or says_loss(head)
    for number, record in enumerate(chain(head, records), 1):
        notes.number = number
        rows, reason = _converted(converters, format_, record)
        if reason is not None:
            yield number, record, None, reason
            continue
        if notes.loss and not loss:
            raise LateLoss
        for row in rows:
            mended = row.pop(MENDED, None)
            row = _stripped(row, notes) if choices.strip else row
            line, reason = written(row)
            if reason is not None:
                yield number, record, None, reason
                continue
            if loss:
                # A turn without the key would count as not trained on.
                for turn in row["conversation"]:
                    turn.setdefault("output_with_loss", True)
                line = line_of(row)
            yield number, line, row, mended_text(mended) if mended else None


def _converted(converters: Converters, format_: str, record: Any) -> tuple[Iterable[Row], Text | None]:
    if isinstance(record, Unreadable):
        return (), record.reason
    try:
        return converters.rows(format_, record), None
    except Unusable as unusable:
        return (), unusable.text
    except KeyError as error:
        key = showable(str(error.args[0])[:40])
        return (), Text(f"不是 {format_} 格式：缺少 {key}", f"not {format_}: there is no {key}")
    except (TypeError, ValueError, AttributeError, IndexError):
        return (), Text(
            f"不是 {format_} 格式：内容的样子不对（{_keys(record)}）",
            f"not {format_}: different structure ({_keys(record)})",
        )


def _stripped(row: Row, notes: Notes) -> Row:
    new = stripped_row(row)
    if new != row:
        notes.note("stripped")
    return new


def says_loss(head: list[Any]) -> bool:
    """Return whether the beginning of a file says which answers are trained on."""
    return any(_has_loss(record) for record in head)


def _has_loss(record: Any) -> bool:
    key = chat_key(record) if isinstance(record, dict) else None
    turns = listed(record[key]) if key else None
    return isinstance(turns, list) and any(
        isinstance(turn, dict) and any(kind_of(name) == "trained" and turn[name] is not None for name in turn)
        for turn in turns
    )


def _keys(record: Any) -> str:
    if not isinstance(record, dict):
        return type(record).__name__
    return showable(", ".join(str(key)[:40] for key in list(record)[:8]))
