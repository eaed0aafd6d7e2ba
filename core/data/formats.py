"""Reading other people's files into rows: JSON, JSONL, CSV, TSV and plain text in the common shapes of chat data.

    xtuner    {"conversation": [{"input", "output"}, …]}
    openai    {"messages": [{"role", "content"}, …]}
    sharegpt  {"conversations": [{"from", "value"}, …]}
    alpaca    {"instruction", "input"?, "output", "history"?, "system"?}
    text      {"text"}, or a txt or md file by its paragraphs: for continued pre-training
    qa        two columns: question/answer, prompt/response, input/output, 问/答 and the like

A row that cannot be used is reported with its number and reason; it never loses the file.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data.messages import Row, problem
from core.ground.errors import BadInput
from core.ground.text import Text

FORMATS = ("xtuner", "openai", "sharegpt", "alpaca", "text", "qa")
MOST_BYTES = 1 << 30
_QUESTION = ("question", "prompt", "input", "query", "instruction", "user", "问", "问题", "提问")
_ANSWER = ("answer", "response", "output", "completion", "assistant", "reply", "答", "回答", "答案")
_USER, _ASSISTANT = ("user", "human"), ("assistant", "gpt", "model", "bot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a file gave: its format, the rows that can be used, and the others by number (from 1) and reason (a Text)."""

    format: str
    rows: list[Row]
    skipped: list[dict[str, Any]]


def read(path: Path, format_: str = "auto") -> Reading:
    """The rows of the file at `path`. Raises BadInput where nothing in it can be used."""
    if format_ not in ("auto", *FORMATS):
        raise BadInput(
            f"不认识的格式 {format_}：可用 auto、{'、'.join(FORMATS)}",
            f"unknown format {format_}: use auto, {', '.join(FORMATS)}",
        )
    if not path.is_file():
        raise BadInput(f"没有文件 {path}：请检查路径", f"there is no file {path}: check the path")
    if path.stat().st_size > MOST_BYTES:
        raise BadInput(
            f"{path.name} 超过 1 GB：请拆分后再导入", f"{path.name} is over 1 GB: split it and import the parts"
        )
    records = list(_records(path))
    if not records:
        raise BadInput(f"{path.name} 里没有数据", f"{path.name} holds no data")
    chosen = detect(records) if format_ == "auto" else format_
    if chosen is None:
        raise BadInput(
            f"认不出 {path.name} 的格式：第一行的字段是 {_keys(records[0])}，需要 conversation、messages、"
            "conversations、instruction/output 或 question/answer",
            f"cannot tell the format of {path.name}: its first record has {_keys(records[0])}; expected conversation, "
            "messages, conversations, instruction/output or question/answer",
        )
    rows, skipped = [], []
    for number, record in enumerate(records, 1):
        try:
            row = _CONVERT[chosen](record)
            reason = problem(row)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            row = None
            reason = Text(f"不是 {chosen} 格式：{error!r}", f"not {chosen}: {type(error).__name__} {error}")
        if reason or row is None:
            skipped.append({"row": number, "reason": reason})
        else:
            rows.append(row)
    if not rows:
        raise BadInput(
            f"{path.name} 的 {len(records)} 行都不能用，第 1 行：{skipped[0]['reason'].zh}",
            f"none of the {len(records)} rows of {path.name} can be used; row 1: {skipped[0]['reason'].en}",
        )
    return Reading(format=chosen, rows=rows, skipped=skipped)


def detect(records: list[Any]) -> str | None:
    """The format that the first records have, None if it is none of ours."""
    for record in records[:20]:
        if isinstance(record, dict):
            for key, name in (("conversation", "xtuner"), ("messages", "openai"), ("conversations", "sharegpt")):
                if key in record:
                    return name
            if "instruction" in record and "output" in record:
                return "alpaca"
            if list(record) == ["text"]:
                return "text"
            if _column(record, _QUESTION) and _column(record, _ANSWER):
                return "qa"
    return None


def decode(data: bytes) -> str:
    """Text from UTF-8 with or without BOM, UTF-16 with BOM, or GB18030; raises BadInput for anything else."""
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise BadInput("文件编码无法识别：请另存为 UTF-8", "the file's encoding is not known: save it as UTF-8")


def _records(path: Path) -> Iterator[Any]:
    text = decode(path.read_bytes())
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        csv.field_size_limit(MOST_BYTES)
        try:
            yield from csv.DictReader(io.StringIO(text), delimiter="\t" if kind == ".tsv" else ",")
        except csv.Error as error:
            raise BadInput(f"{path.name} 读不出来：{error}", f"{path.name} cannot be read: {error}") from error
        return
    if kind in (".txt", ".md"):
        yield from ({"text": part.strip()} for part in re.split(r"\n\s*\n", text) if part.strip())
        return
    if kind not in (".json", ".jsonl"):
        raise BadInput(
            f"不支持 {kind} 文件：请用 json、jsonl、csv、tsv、txt 或 md",
            f"{kind} files are not read: use json, jsonl, csv, tsv, txt or md",
        )
    if kind == ".json" and not _looks_like_lines(text):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadInput(
                f"{path.name} 不是合法的 JSON：{error}", f"{path.name} is not valid JSON: {error}"
            ) from error
        yield from value if isinstance(value, list) else [value]
        return
    # Not splitlines: it also splits at characters that may stand inside a JSON string.
    for line in text.split("\n"):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                yield line


def _looks_like_lines(text: str) -> bool:
    """Whether a .json file is really JSON lines: its first line is an object of its own and more follow."""
    first, _, rest = text.strip().partition("\n")
    return first.startswith("{") and first.rstrip().endswith("}") and rest.strip().startswith("{")


def _keys(record: Any) -> str:
    return ", ".join(map(str, list(record)[:8])) if isinstance(record, dict) else type(record).__name__


def _column(record: dict[str, Any], names: tuple[str, ...]) -> str | None:
    lowered = {str(key).strip().lower(): key for key in record if key is not None}
    return next((lowered[name] for name in names if name in lowered), None)


def _from_xtuner(record: dict[str, Any]) -> Row:
    turns = []
    for turn in record["conversation"]:
        kept = {"system": turn["system"]} if turn.get("system") else {}
        turns.append({**kept, "input": turn.get("input", ""), "output": turn["output"]})
    return {"conversation": turns}


def _from_roles(messages: list[dict[str, Any]], role: str, content: str) -> Row:
    turns: list[dict[str, str]] = []
    system, question = "", None
    for message in messages:
        who = str(message[role]).lower()
        if who == "system":
            system = message[content]
        elif who in _USER:
            question = message[content]
        elif who in _ASSISTANT:
            if question is None:
                raise ValueError("an answer without a question before it")
            first = {"system": system} if system and not turns else {}
            turns.append({**first, "input": question, "output": message[content]})
            question = None
        else:
            raise ValueError(f"unknown role {who}")
    return {"conversation": turns}


def _from_alpaca(record: dict[str, Any]) -> Row:
    question = record["instruction"] + (f"\n{record['input']}" if record.get("input") else "")
    turns = [{"input": asked, "output": answered} for asked, answered in record.get("history") or []]
    turns.append({"input": question, "output": record["output"]})
    if record.get("system"):
        turns[0] = {"system": record["system"], **turns[0]}
    return {"conversation": turns}


def _from_qa(record: dict[str, Any]) -> Row:
    question, answer = _column(record, _QUESTION), _column(record, _ANSWER)
    return {"conversation": [{"input": record[question], "output": record[answer]}]}


_CONVERT = {
    "xtuner": _from_xtuner,
    "openai": lambda record: _from_roles(record["messages"], "role", "content"),
    "sharegpt": lambda record: _from_roles(record["conversations"], "from", "value"),
    "alpaca": _from_alpaca,
    "text": lambda record: {"conversation": [{"input": "", "output": record["text"]}]},
    "qa": _from_qa,
}
