"""The shapes that other people's records have, each turned into a row; which one a file has is found in `formats`.

Roles: user, human and what a tool returned (observation, tool) ask; assistant, gpt, bot and a call of a tool answer.
A greeting before the first question and a last question without an answer are left out; turns of one role are joined.
A row that was mended so says it under MENDED, which is taken off before the row is used.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.data.files.encoding import showable
from core.data.row import Row
from core.ground.text import Text

QUESTION = (
    "question prompt query instruction input user human q ask problem 问 问题 提问 用户 用户输入 输入 指令 问句 题目 提示词"
).split()
ANSWER = (
    "answer response output completion assistant reply target gpt bot a solution 答 回答 答案 回复 输出 助手 应答"
).split()
SYSTEM = ("system", "systemprompt", "系统", "系统提示词", "系统提示")
HISTORY = ("history", "历史", "历史对话")
_CHATS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns")
_ROLES = {
    **dict.fromkeys("user human observation tool tools function functionresponse toolresponse 用户 问".split(), "ask"),
    **dict.fromkeys("assistant gpt model bot chatgpt bing functioncall toolcall ai 助手 答".split(), "answer"),
    **dict.fromkeys("system developer 系统".split(), "system"),
}
_NO_OUTPUT = "<nooutput>"
MENDED = "mended"
_GREETING = Text("开头的回答前面没有问题，已略去", "an answer before the first question was left out")
_QUESTIONS = Text("连着的几个问题合成了一个", "questions in a row were joined")
_ANSWERS = Text("连着的几个回答合成了一个", "answers in a row were joined")
_UNANSWERED = Text("最后的问题没有回答，已略去", "the last question has no answer and was left out")


class Unusable(Exception):
    """A record that is no conversation; `text` says why."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.text = Text(showable(zh), showable(en))


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns hold what, where the names alone do not tell."""

    question: str
    answer: str
    system: str | None = None


def chat_key(record: dict[str, Any]) -> str | None:
    """The key of a record that holds its turns."""
    return next((key for key in _CHATS if key in record and not _is_text(record[key])), None)


def column(record: dict[str, Any], names: tuple[str, ...] | list[str]) -> str | None:
    """The first of `names` that a record has as a column, as it is spelled there."""
    spelled = {plain_name(key): key for key in record if key is not None}
    return next((spelled[name] for name in names if name in spelled), None)


def _from_xtuner(record: dict[str, Any]) -> Row:
    turns = []
    for turn in record["conversation"]:
        kept = {"system": turn["system"]} if turn.get("system") else {}
        new = {**kept, "input": turn.get("input") or "", "output": turn["output"]}
        new.update({key: turn[key] for key in ("output_with_loss", "need_eos_token") if key in turn})
        turns.append(new)
    return {"conversation": turns}


def _from_chat(record: Any) -> Row:
    """Any list of turns: {role, content}, {from, value} or {human, assistant}."""
    if isinstance(record, list):
        return _conversation(record, "")
    key = chat_key(record)
    if key is None:
        raise Unusable("没有 messages 或 conversations", "there is no messages or conversations")
    turns = listed(record[key])
    if not isinstance(turns, list):
        raise Unusable(f"{key} 不是列表", f"{key} is no list")
    system = _content(record.get("system") or record.get("system_prompt") or "")
    tools = record.get("tools")
    if tools and tools != "[]":
        described = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)
        system = f"{system}\n\n{described}" if system else described
    return _conversation(turns, system)


def _conversation(messages: list[Any], system: str) -> Row:
    turns: list[dict[str, Any]] = []
    asked: list[str] = []
    answered = False
    mended: list[Text] = []
    for number, message in enumerate(messages, 1):
        for who, content, loss in _said(message, number):
            if who == "ask":
                if answered:
                    asked, answered = [content], False
                else:
                    if asked:
                        mended.append(_QUESTIONS)
                    asked.append(content)
            elif who == "system":
                system = f"{system}\n{content}" if system else content
            elif not turns and not asked:
                # A greeting before anybody asked; XTuner leaves it out too.
                mended.append(_GREETING)
            elif answered and loss is None:
                mended.append(_ANSWERS)
                turns[-1]["output"] += f"\n{content}"
            else:
                turn = {"system": system} if system else {}
                turn["input"] = "" if answered else "\n".join(asked)
                turn["output"] = content
                if loss is not None:
                    turn["output_with_loss"] = loss
                turns.append(turn)
                system, answered = "", True
    if not turns:
        raise Unusable("没有一问一答", "there is no question with an answer")
    if not answered:
        mended.append(_UNANSWERED)
    return {"conversation": turns, MENDED: list(dict.fromkeys(mended))} if mended else {"conversation": turns}


def _said(message: Any, number: int) -> list[tuple[str, str, bool | None]]:
    """Who says what in one message: (system, ask or answer; the text; whether it is trained on, if it says so)."""
    if not isinstance(message, dict):
        raise Unusable(f"第 {number} 条消息不是对象", f"message {number} is not an object")
    role = _first(message, "role", "from", "speaker", "sender")
    if role is None:
        pair = [column(message, list(names)) for names in (SYSTEM, QUESTION, ANSWER)]
        if pair[1] and pair[2]:
            parts = zip(("system", "ask", "answer"), pair, strict=True)
            return [(who, _content(message[key]), None) for who, key in parts if key and message[key] is not None]
        raise Unusable(f"第 {number} 条消息没有角色（from 或 role）", f"message {number} has no role (from or role)")
    who = _ROLES.get(role) if isinstance(role, str) else None
    who = who or _ROLES.get(plain_name(role))
    if who is None:
        raise Unusable(f"不认识的角色 {str(role)[:40]}", f"unknown role {str(role)[:40]}")
    content = _first(message, "content", "value", "text", "message")
    if content is None and message.get("tool_calls"):
        content = json.dumps(message["tool_calls"], ensure_ascii=False)
    if content is None:
        raise Unusable(f"第 {number} 条消息没有内容", f"message {number} has no content")
    loss = message.get("loss") if who == "answer" else None
    trained = None if loss is None else str(loss).lower() not in ("false", "0", "0.0")
    return [(who, content if isinstance(content, str) else _content(content), trained)]


def _first(message: dict[str, Any], *keys: str) -> Any:
    for key in keys:
        if key in message:
            return message[key]
    return None


def _content(value: Any) -> str:
    """A message's text; one in parts must be of text alone."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        kinds = {part.get("type", "text") for part in value}
        if kinds <= {"text"}:
            return "".join(str(part.get("text", "")) for part in value)
        raise Unusable(f"含有 {'、'.join(sorted(map(str, kinds - {'text'})))}，不是文字", "it holds more than text")
    raise Unusable(f"内容不是文字而是 {type(value).__name__}", f"the content is {type(value).__name__}, not text")


def _from_alpaca(record: dict[str, Any]) -> Row:
    if record["output"] == _NO_OUTPUT:
        raise Unusable("没有回答（<nooutput>）", "there is no answer (<nooutput>)")
    question = record["instruction"] + (f"\n{record['input']}" if record.get("input") else "")
    return _with_past(record, question, record["output"])


def _from_qa(record: Any) -> Row:
    if is_pair(record):
        return {"conversation": [{"input": record[0], "output": record[1]}]}
    question, answer = column(record, QUESTION), column(record, ANSWER)
    if question is None or answer is None:
        raise Unusable("没有问题和回答两列", "there are no columns for the question and the answer")
    if isinstance(record[question], list) and isinstance(record[answer], list):
        return _conversation([*record[question], *record[answer]], "")
    return _with_past(record, record[question], record[answer])


def from_columns(record: Any, columns: Columns) -> Row:
    for name in (columns.question, columns.answer):
        if name not in record:
            raise Unusable(f"没有 {name} 这一列", f"there is no column {name}")
    known = {"system": record.get(columns.system)} if columns.system else {}
    return _with_past(known, record[columns.question], record[columns.answer])


def _with_past(record: dict[str, Any], question: Any, answer: Any) -> Row:
    """A row of a question and an answer, what was said before, and the system prompt, as far as the record has them."""
    turns: list[dict[str, Any]] = []
    past, system = column(record, HISTORY), column(record, SYSTEM)
    for pair in listed(record[past]) if past and record[past] else []:
        asked, answered = pair.values() if isinstance(pair, dict) else pair
        turns.append({"input": asked, "output": answered})
    turns.append({"input": question, "output": answer})
    if system and record[system]:
        turns[0] = {"system": record[system], **turns[0]}
    return {"conversation": turns}


def _from_text(record: Any) -> Row:
    key = column(record, ["text", "content"])
    if key is None:
        raise Unusable("没有 text", "there is no text")
    return {"conversation": [{"input": "", "output": record[key]}]}


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


def plain_name(key: Any) -> str:
    """A column's or role's name without case, spaces and marks."""
    return "".join(character for character in str(key).strip().lower() if character.isalnum())


CONVERT: dict[str, Callable[[Any], Row]] = {
    "xtuner": _from_xtuner,
    "openai": _from_chat,
    "sharegpt": _from_chat,
    "alpaca": _from_alpaca,
    "text": _from_text,
    "qa": _from_qa,
}
