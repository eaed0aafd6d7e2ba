"""Turns a list of messages into a conversation: who asks, who answers, and what else a message contains.

Roles: user, human and tool results (observation, tool) ask; assistant, gpt, bot and tool calls answer. A greeting
before the first question and a last question without an answer are omitted; consecutive messages of a role are joined.
A row that was fixed in this way says so under `MENDED`, which is removed before the row is used.
"""

import json
import re
from typing import Any

from core.data.files.choices import Choices
from core.data.files.encoding import showable
from core.data.files.fields import ANSWER, QUESTION, SYSTEM, column, kind_of, plain_name
from core.data.files.notes import MOST_SPEAKERS, Notes
from core.data.files.values import LONGEST_BLANK, Unusable, holds_text, is_blank, text_of
from core.data.row import Row, Turn
from core.ground.text import Text

_ROLES = {
    **dict.fromkeys(
        "user human observation tool tools function functionresponse toolresponse prompter 用户 问 提问 客户".split(),
        "ask",
    ),
    **dict.fromkeys(
        "assistant gpt model bot chatgpt bing functioncall toolcall ai moss 助手 答 回答 客服".split(), "answer"
    ),
    **dict.fromkeys("system developer 系统".split(), "system"),
}
# In the spelling of the two most common formats.
_USER, _ASSISTANT = ("user", "human"), ("assistant", "gpt")
_ROLE_KEYS = ("role", "from", "speaker", "sender")
_CONTENT_KEYS = ("content", "value", "text", "message")
_PLAIN = frozenset((*_ROLE_KEYS, *_CONTENT_KEYS, "name", "tool_call_id", "id"))
_FALSE = ("false", "0", "0.0", "no", "否", "bad", "undesirable", "rejected", "thumbs_down", "差", "坏", "不好")
_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>\s*", re.DOTALL)
_MEDIA_MARK = re.compile(r"<(?:image|video|audio|img)>")
MENDED = "mended"
_GREETING = Text("开头的回答前面没有问题，已略去", "an answer before the first question was left out")
_QUESTIONS = Text("连着的几个问题合成了一个", "consecutive questions were joined")
_ANSWERS = Text("连着的几个回答合成了一个", "consecutive answers were joined")
_UNANSWERED = Text("最后的问题没有回答，已略去", "the last question has no answer and was left out")
Said = tuple[str, str, bool | None]


class Messages:
    """Turns lists of messages into rows according to `choices`; notices go to `notes`."""

    def __init__(self, choices: Choices, notes: Notes) -> None:
        self.choices, self.notes = choices, notes

    def conversation(self, messages: list[Any], system: str) -> Row:
        """Return the row of a list of messages with a `system` prompt. Raises Unusable if there is none."""
        usual = _in_turn(messages, system)
        if usual:
            return {"conversation": usual}
        turns: list[dict[str, Any]] = []
        asked: list[str] = []
        answered = False
        mended: list[Text] = []
        for number, message in enumerate(messages, 1):
            for who, content, loss in self._said(message, number):
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
                    # A greeting before the first question; XTuner omits it too.
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
            raise Unusable("没有一问一答", "it has no question with an answer")
        if not answered:
            mended.append(_UNANSWERED)
        return {"conversation": turns, MENDED: list(dict.fromkeys(mended))} if mended else {"conversation": turns}

    def answer(self, text: str, thinking: str = "") -> str:
        """Return an answer with its thinking in front, or without it, as chosen."""
        within = "<think" in text and _THOUGHT.search(text) is not None
        if not within and not thinking:
            return text
        if self.choices.thinking == "drop":
            self.notes.note("thinking_dropped")
            return _THOUGHT.sub("", text) if within else text
        self.notes.note("thinking")
        return text if within else f"<think>\n{thinking.strip()}\n</think>\n\n{text}"

    def seen(self, text: str) -> None:
        """Note media markers in a text."""
        if "<" in text and _MEDIA_MARK.search(text):
            self.notes.note("media_mark")

    def _said(self, message: Any, number: int) -> list[Said]:
        """Return what one message contributes: (system, ask or answer; text; whether it is trained on, if stated)."""
        if not isinstance(message, dict):
            raise Unusable(f"第 {number} 条消息不是对象", f"message {number} is not an object")
        role = _first(message, _ROLE_KEYS)
        if role is None:
            return self._pair(message, number)
        who = _ROLES.get(role) if isinstance(role, str) else None
        who = who or _ROLES.get(plain_name(role)) or self._named(role)
        content = _first(message, _CONTENT_KEYS)
        if message.keys() <= _PLAIN and type(content) is str and len(content) > 9:
            if "<" in content:
                self.seen(content)
                if who == "answer":
                    content = self.answer(content)
            return [(who, content, None)]
        return self._full(message, number, who, content)

    def _named(self, role: Any) -> str:
        """Return the role of a named speaker: the chosen one answers, the others ask."""
        name = showable(str(role)[:40])
        if self.choices.speaker:
            return "answer" if name == self.choices.speaker else "ask"
        if len(self.notes.speakers) < MOST_SPEAKERS or name in self.notes.speakers:
            self.notes.speakers[name] += 1
        raise Unusable(
            f"不认识的角色 {name}：若是人名，就选谁是助手（--speaker）",
            f"unknown role {name}: if it is a name, say who is the assistant (--speaker)",
        )

    def _full(self, message: dict[str, Any], number: int, who: str, content: Any) -> list[Said]:
        """Handle a message with more than a role and a text."""
        thinking, calls, loss = "", [], None
        for key in message.keys() - _PLAIN:
            kind, value = kind_of(key), message[key]
            if value is None or value == "" or value == []:
                continue
            if kind == "thinking" and who == "answer":
                thinking = text_of(value, self.notes)
            elif kind == "trained" and who == "answer":
                loss = self._trained(value)
            elif kind == "tool_calls":
                calls.append(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            elif kind == "media":
                raise needs_media(key, self.notes)
            elif kind not in ("id", "tag", "trained") and holds_text(value):
                self.notes.leave(f"messages.{key}")
        if isinstance(content, list | dict):
            content, thought, called = self._parts(content)
            thinking, calls = thinking or thought, calls + called
        elif content is None and not calls:
            raise Unusable(f"第 {number} 条消息没有内容", f"message {number} has no content")
        else:
            content = text_of(content, self.notes)
        if calls:
            self.notes.note("tool_calls")
            content = "\n".join([content, *calls] if content else calls)
        self.seen(content)
        if who == "answer":
            content = self.answer(content, thinking)
        return [(who, content, loss)]

    def _parts(self, value: Any) -> tuple[str, str, list[str]]:
        """Return text, thinking and tool calls of a content in parts. Raises Unusable for media."""
        texts, thoughts, calls = [], [], []
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, str):
                texts.append(part)
                continue
            if not isinstance(part, dict):
                raise Unusable(
                    f"内容不是文字而是 {type(part).__name__}", f"the content is {type(part).__name__}, not text"
                )
            kind = str(part.get("type") or ("text" if "text" in part else "?"))
            if kind in ("text", "input_text", "output_text"):
                texts.append(text_of(part.get("text", ""), self.notes))
            elif kind in ("thinking", "reasoning"):
                thoughts.append(text_of(part.get("thinking") or part.get("reasoning") or part.get("text"), self.notes))
            elif kind in ("tool_use", "tool_call", "function_call"):
                calls.append(json.dumps(part, ensure_ascii=False))
            elif kind == "tool_result":
                held = part.get("content", "")
                texts.append(self._parts(held)[0] if isinstance(held, list) else text_of(held, self.notes))
            elif kind_of(kind) == "media" or "image" in kind or "audio" in kind or "video" in kind:
                raise needs_media(kind, self.notes)
            else:
                raise Unusable(f"含有 {kind[:40]}，不是文字", f"it contains {kind[:40]}, which is not text")
        return "".join(texts), "\n".join(thoughts), calls

    def _pair(self, message: dict[str, Any], number: int) -> list[Said]:
        """Handle an object with a question and its answer; MOSS adds thoughts and commands."""
        system, asked, answered = (column(message, names) for names in (SYSTEM, QUESTION, ANSWER))
        if not asked or not answered:
            raise Unusable(
                f"第 {number} 条消息没有角色（from 或 role）", f"message {number} has no role (from or role)"
            )
        parts = {key: _unmarked(text_of(value, self.notes)) for key, value in message.items() if not is_blank(value)}
        thoughts, commands, results = (
            next((parts[key] for key in parts if plain_name(key) == name and parts[key] not in ("", "None")), "")
            for name in ("innerthoughts", "commands", "toolresponses")
        )
        said: list[Said] = []
        if system and parts.get(system):
            said.append(("system", parts[system], None))
        if asked in parts:
            said.append(("ask", parts[asked], None))
        if commands:
            self.notes.note("tool_calls")
            said += [("answer", self.answer(commands, thoughts), None), ("ask", results, None)]
            thoughts = ""
        if answered in parts:
            said.append(("answer", self.answer(parts[answered], thoughts), None))
        return said

    def _trained(self, value: Any) -> bool:
        self.notes.loss = True
        trained = str(value).strip().lower() not in _FALSE
        if not trained:
            self.notes.note("untrained")
        elif not isinstance(value, bool) and str(value) not in ("1", "1.0", "true", "True"):
            self.notes.note("weighted")
        return trained


def _in_turn(messages: list[Any], system: str) -> list[Turn] | None:
    """Return the turns of alternating messages with only a role and a text, the common case; None for any others."""
    turns: list[Turn] = []
    question = None
    for message in messages:
        if type(message) is not dict or len(message) != 2:
            return None
        role, content = message.get("role"), message.get("content")
        if role is None:
            role, content = message.get("from"), message.get("value")
        # "<" may begin a media marker or a thought.
        if type(content) is not str or "<" in content or (len(content) <= LONGEST_BLANK and is_blank(content)):
            return None
        if question is None:
            if role in _USER:
                question = content
            elif role == "system" and not turns:
                system = f"{system}\n{content}" if system else content
            else:
                return None
        elif role in _ASSISTANT:
            turns.append({"system": system, "input": question, "output": content} if system else
                         {"input": question, "output": content})  # fmt: skip
            system, question = "", None
        else:
            return None
    return turns if question is None else None


def is_false(value: Any) -> bool:
    """Return whether a label for training or quality says no."""
    return value is False or (isinstance(value, int | float | str) and str(value).strip().lower() in _FALSE)


def needs_media(name: str, notes: Notes) -> Unusable:
    """Return the reason for a row that needs an image, audio or video."""
    notes.note("media")
    return Unusable(
        f"要配图片、音频或视频（{name[:40]}）：这里训练的是文字模型",
        f"it needs an image, audio or video ({name[:40]}): only text models can be trained here",
    )


def has_role(role: Any) -> bool:
    """Return whether a role is known."""
    return plain_name(role) in _ROLES


def answers(role: Any) -> bool:
    """Return whether a role is known to answer."""
    return _ROLES.get(plain_name(role)) == "answer"


def is_system(role: Any) -> bool:
    """Return whether a role provides the system prompt."""
    return _ROLES.get(plain_name(role)) == "system"


def _unmarked(text: str) -> str:
    """Remove MOSS's own markers: <|Human|>: … <eoh>."""
    return re.sub(r"\A\s*<\|[\w ]{1,20}\|>\s*[:：]\s*|\s*<eo[a-z]>\s*\Z", "", text)


def _first(message: dict[str, Any], keys: tuple[str, ...]) -> Any:
    for key in keys:
        if key in message:
            return message[key]
    return None
