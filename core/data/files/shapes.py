"""Turns records of every supported shape into rows; `formats` detects the shape.

`fields` interprets the names of fields, `messages` lists of messages, `preferences` several answers.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from core.data.files.choices import Choices
from core.data.files.dialogue import Dialogue, recognise
from core.data.files.fields import Layout, column, layout_of, not_used
from core.data.files.messages import MENDED, Messages, is_false, needs_media
from core.data.files.notes import Notes
from core.data.files.preferences import better, is_preference
from core.data.files.records import WRAPPERS, chat_key, is_chat, is_pair, listed, unwrapped
from core.data.files.values import Unusable, holds_text, optional_text, text_of
from core.data.row import Row
from core.ground.text import Text

__all__ = ["MENDED", "Columns", "Converters", "Unusable"]
_NO_OUTPUT = "<nooutput>"
_MOST_LAYOUTS = 1000
_CHAT_FORMATS = ("xtuner", "openai", "sharegpt")
# Fields used by each format, in addition to those checked for all formats.
_QA_USES = ("question", "answer", "system", "history", "context", "thinking")
_USED = {
    **dict.fromkeys(("openai", "sharegpt"), ("system", "tools")),
    **dict.fromkeys(("alpaca", "qa"), _QA_USES),
    "xtuner": (),
    "text": ("text",),
    "dialogue": ("text",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The roles of columns, if their names do not show them."""

    question: str
    answer: str
    system: str | None = None


class Converters:
    """Turns the records of one file into rows according to `choices`; notices go to `notes`."""

    def __init__(self, choices: Choices, notes: Notes, columns: Columns | None = None) -> None:
        self.choices, self.notes, self.columns = choices, notes, columns
        self.messages = Messages(choices, notes)
        self._layouts: dict[tuple[str, tuple[Any, ...]], Layout] = {}

    def rows(self, format_: str, record: Any) -> Iterable[Row]:
        """Return the rows of a record, usually one. Raises Unusable, or KeyError and the like, if there is none."""
        if not isinstance(record, dict):
            return self._bare(format_, record)
        layout = self._layout(format_, record)
        if layout.wrapped and (inner := unwrapped(record)) is not record:
            record, layout = inner, self._layout(format_, inner)
        if layout.others:
            for key in layout.others:
                if holds_text(record[key]):
                    self.notes.leave(key)
        for key in layout.media:
            if record[key]:
                raise needs_media(key, self.notes)
        if (layout.label or layout.trained) and format_ != "text":
            self._judged(record, layout)
        if self.columns is not None:
            return self._of_columns(record, self.columns)
        if layout.preference:
            record = better(record, layout, self.notes)
            format_ = "openai" if "messages" in record else "qa" if layout.question else "dialogue"
            layout = self._layout(format_, record)
        return self._by_format[format_](self, record, layout)

    def _bare(self, format_: str, record: Any) -> Iterable[Row]:
        """Handle a record without field names: a dialogue found in a text, messages, a pair."""
        if isinstance(record, Dialogue):
            return self._of_dialogue(record)
        if isinstance(record, list) and format_ in ("openai", "sharegpt") and is_chat(record):
            return [self.messages.conversation(record, "")]
        if is_pair(record) and format_ == "qa":
            return [{"conversation": [{"input": record[0], "output": record[1]}]}]
        if isinstance(record, str) and format_ in ("text", "dialogue"):
            return self._by_format[format_](self, {"text": record}, Layout(text="text"))
        raise TypeError(record)

    def _layout(self, format_: str, record: dict[str, Any]) -> Layout:
        """Return the roles of a record's fields; cached for records with the same keys."""
        keys = tuple(record)
        layout = self._layouts.get((format_, keys))
        if layout is None:
            layout = layout_of(keys)
            layout.preference = is_preference(layout, keys)
            layout.wrapped = any(key in WRAPPERS for key in keys)
            if self.columns is not None:
                used = (self.columns.question, self.columns.answer, self.columns.system)
                layout.better = layout.worse = layout.label = layout.trained = None
            elif layout.better is None and layout.preference:
                used = keys
            else:
                of_format = _USED[format_]
                used = [getattr(layout, name) for name in (*of_format, "label", "trained", "better", "worse")]
                used += [*layout.media, *(layout.chats[:1] if format_ in _CHAT_FORMATS else ())]
            layout.others = not_used(keys, used)
            if len(self._layouts) < _MOST_LAYOUTS:
                self._layouts[format_, keys] = layout
        return layout

    def _judged(self, record: dict[str, Any], layout: Layout) -> None:
        """Reject a row labeled as a bad answer or as not to be trained on."""
        if layout.label and not layout.better and is_false(record[layout.label]):
            if self.choices.bad == "keep":
                self.notes.note("bad_kept")
            else:
                self.notes.note("bad")
                raise Unusable(
                    f"标明是不好的回答（{layout.label} 为否）", f"marked as a bad answer ({layout.label} is false)"
                )
        if layout.trained and is_false(record[layout.trained]):
            self.notes.note("untrained")
            raise Unusable(f"标明不训练（{layout.trained} 为 0）", f"marked as untrained ({layout.trained} is 0)")

    def _from_xtuner(self, record: dict[str, Any], layout: Layout) -> list[Row]:  # noqa: ARG002
        turns = []
        for turn in record["conversation"]:
            system = optional_text(turn.get("system"), self.notes)
            kept = {"system": system} if system else {}
            output = self.messages.answer(text_of(turn["output"], self.notes))
            new = {**kept, "input": optional_text(turn.get("input"), self.notes), "output": output}
            new.update({key: turn[key] for key in ("output_with_loss", "need_eos_token") if turn.get(key) is not None})
            self.notes.loss = self.notes.loss or "output_with_loss" in new
            turns.append(new)
        return [{"conversation": turns}]

    def _from_chat(self, record: dict[str, Any], layout: Layout) -> list[Row]:
        """Handle any list of turns: {role, content}, {from, value}, {human, assistant}, or numbered ones."""
        turns = record[layout.chats[0]] if layout.chats else None
        if type(turns) is not list:
            turns = self._turns(record, layout)
        system = optional_text(record[layout.system], self.notes) if layout.system else ""
        tools = record[layout.tools] if layout.tools else None
        if tools and tools != "[]":
            self.notes.note("tools")
            described = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)
            system = f"{system}\n\n{described}" if system else described
        return [self.messages.conversation(turns, system)]

    def _turns(self, record: dict[str, Any], layout: Layout) -> list[Any]:
        """Return the turns of a record if they are not simply a list."""
        key = chat_key(record, layout)
        if key is None:
            raise Unusable("没有 messages 或 conversations", "neither messages nor conversations found")
        turns = listed(record[key])
        if isinstance(turns, dict) and turns and all(isinstance(turn, dict) for turn in turns.values()):
            turns = list(turns.values())
        if not isinstance(turns, list):
            raise Unusable(f"{key} 不是列表", f"{key} is not a list")
        return turns

    def _from_alpaca(self, record: dict[str, Any], layout: Layout) -> list[Row]:
        if record["output"] == _NO_OUTPUT:
            raise Unusable("没有回答（<nooutput>）", "there is no answer (<nooutput>)")
        return self._asked(record, layout, record["instruction"], record["output"])

    def _from_qa(self, record: dict[str, Any], layout: Layout) -> list[Row]:
        if layout.question is None or layout.answer is None:
            raise Unusable("没有问题和回答两列", "there are no columns for the question and the answer")
        question, answer = record[layout.question], record[layout.answer]
        if is_chat(question) and is_chat(answer):
            return [self.messages.conversation([*question, *answer], "")]
        if is_chat(question) and isinstance(answer, str):
            return [self.messages.conversation([*question, {"role": "assistant", "content": answer}], "")]
        return self._asked(record, layout, question, answer)

    def _of_columns(self, record: dict[str, Any], columns: Columns) -> list[Row]:
        for name in (columns.question, columns.answer):
            if name not in record:
                raise Unusable(f"没有 {name} 这一列", f"there is no column {name}")
        system = columns.system if columns.system in record else None
        return self._asked(record, Layout(system=system), record[columns.question], record[columns.answer])

    def _asked(self, record: dict[str, Any], layout: Layout, question: Any, answer: Any) -> list[Row]:
        """Return the rows of a question and its answer, with whatever context the record has."""
        wordings = question if isinstance(question, list) else [question]
        if isinstance(question, list) and not all(isinstance(part, str) for part in question):
            raise Unusable("问题不是文字", "the question is not text")
        if len(wordings) > 1:
            self.notes.note("alternatives")
        if isinstance(answer, list) and len(answer) == 2 and all(isinstance(part, str) for part in answer):
            self.notes.note("preference")
            answer = answer[0]
        elif isinstance(answer, dict) and isinstance(answer.get("text"), list):
            answer = answer["text"][0] if answer["text"] else ""
        thinking = optional_text(record[layout.thinking], self.notes) if layout.thinking else ""
        answer = self.messages.answer(text_of(answer, self.notes), thinking)
        context = optional_text(record[layout.context], self.notes) if layout.context else ""
        if context and layout.context != "input":
            self.notes.note("context")
        system = optional_text(record[layout.system], self.notes) if layout.system else ""
        past = self._past(record[layout.history]) if layout.history and record[layout.history] else []
        rows = []
        for wording in wordings:
            asked = text_of(wording, self.notes)
            if not asked and not context and wording != "":
                raise Unusable("问题是空的", "the question is empty")
            self.messages.seen(asked)
            turns = [*past, {"input": f"{asked}\n{context}" if context else asked, "output": answer}]
            if system:
                turns[0] = {"system": system, **turns[0]}
            rows.append({"conversation": turns})
        return rows

    def _past(self, history: Any) -> list[dict[str, str]]:
        """Return the previous turns: pairs, alternating texts, or messages."""
        history = listed(history)
        if is_chat(history) and column(history[0], ("role", "from")):
            return self.messages.conversation(history, "")["conversation"]
        if not isinstance(history, list):
            raise Unusable("历史对话不是列表", "the history is not a list")
        if all(isinstance(text, str) for text in history):
            if len(history) % 2:
                self.notes.note("half_past")
            history = list(zip(history[::2], history[1::2], strict=False))
        turns = []
        for pair in history:
            asked, answered = pair.values() if isinstance(pair, dict) else pair
            turns.append({"input": text_of(asked, self.notes), "output": text_of(answered, self.notes)})
        return turns

    def _from_text(self, record: dict[str, Any], layout: Layout) -> list[Row]:
        if layout.text is None:
            raise Unusable("没有 text", "there is no text")
        return [{"conversation": [{"input": "", "output": text_of(record[layout.text], self.notes)}]}]

    def _from_dialogue(self, record: dict[str, Any], layout: Layout) -> list[Row]:
        """Handle turns written into one text."""
        for key in (layout.text, *layout.chats, *layout.others):
            if key and isinstance(record[key], str) and (found := recognise(record[key])):
                self.notes.use(key)
                return self._of_dialogue(found)
        self.notes.note("prose")
        raise Unusable("没有对话的标记", "it has no dialogue markers")

    def _of_dialogue(self, found: Dialogue) -> list[Row]:
        self.notes.note("turns")
        turns = [{"role": who, "content": text} for who, text in found.turns]
        return [self.messages.conversation(turns, "")]

    _by_format: dict[str, Callable[["Converters", dict[str, Any], Layout], list[Row]]] = {
        "xtuner": _from_xtuner,
        "openai": _from_chat,
        "sharegpt": _from_chat,
        "alpaca": _from_alpaca,
        "text": _from_text,
        "qa": _from_qa,
        "dialogue": _from_dialogue,
    }


def mended_text(mended: list[Text]) -> Text:
    """Return how the turns of a row were fixed, as one sentence."""
    return Text("；".join(text.zh for text in mended), "; ".join(text.en for text in mended))
