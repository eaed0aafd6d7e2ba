"""Collects what the user must know about a file that was read: for each kind of notice the number of rows, and which.

Every notice is listed here with its message and hint, so that import, page and documentation agree. Fields with unknown
names are reported as not used.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from core.data.checks import Finding
from core.data.files.encoding import showable
from core.ground.text import Text

# Rows named per kind; further ones are only counted.
MOST_NAMED = 5
MOST_UNUSED = 30
# Limits: names of fields kept, and speakers.
MOST_KEPT, MOST_SPEAKERS = 1000, 50


@dataclass(frozen=True, slots=True)
class Kind:
    """A notice: the message with the count at {}, and what else the user can do."""

    message: Text
    hint: Text
    severity: str = "warning"


KINDS = {
    "thinking": Kind(
        Text("{} 行有思考过程，放进 <think>…</think>，接在回答前面",
             "{} rows include thinking: kept as <think>…</think> before the answer"),
        Text("不想让模型学思考，就在导入时略去（--thinking drop）",
             "to train without it, remove it when importing (--thinking drop)"),
    ),
    "thinking_dropped": Kind(
        Text("{} 行的思考过程按选择略去了", "the thinking of {} rows was removed, as requested"),
        Text("要保留，就在导入时选保留（--thinking keep）", "to keep it, use --thinking keep when importing"),
    ),
    "untrained": Kind(
        Text("{} 行里有标明不训练的回答（weight、train 或 loss 为 0）：只作上文，不计损失",
             "{} rows contain answers marked as untrained (weight, train or loss is 0): used as context only"),
        Text("要训练它们，就去掉这个标记再导入", "to train on them, remove the mark and import again"),
    ),
    "weighted": Kind(
        Text("{} 行的权重不是 0 或 1：只分训练与不训练，都按 1 训练",
             "{} rows have a weight other than 0 or 1: treated as 1, because partial weights are not supported"),
        Text("想少训练它们，就少放几行", "to train less on such rows, keep fewer of them"),
    ),
    "bad": Kind(
        Text("{} 行标明是不好的回答（label 为否），没有导入", "{} rows are marked as bad answers (label false) and were left out"),
        Text("确实要学，就在导入时选保留（--bad-answers keep）",
             "to train on them anyway, keep them when importing (--bad-answers keep)"),
    ),
    "bad_kept": Kind(
        Text("{} 行标明是不好的回答，按选择保留了", "{} rows are marked as bad answers and were kept, as requested"),
        Text("模型会照着学：多半应该略去", "the model learns them like any other answer: usually it is better to leave them out"),
    ),
    "preference": Kind(
        Text("{} 行是偏好数据（好、坏两个回答）：只用了较好的一个",
             "{} rows are preference data: only the preferred answer is used"),
        Text("偏好训练（DPO）要用 XTuner 的 dpo 预设", "to train on preferences (DPO), use one of XTuner's dpo presets"),
    ),
    "tool_calls": Kind(
        Text("{} 行里有工具调用：以 JSON 文字放进回答，工具的结果当作问题",
             "{} rows contain tool calls: calls are kept as JSON text in the answer, tool results as questions"),
        Text("看看“模型看到什么”里是不是想要的样子", "check the result under “What the model sees”"),
    ),
    "tools": Kind(
        Text("{} 行带有工具说明：放进了系统提示词", "{} rows describe tools: added to the system prompt"),
        Text("对话时也要给同样的说明，模型才会调用", "in chat, tool calls need the same description"),
    ),
    "media": Kind(
        Text("{} 行要配图片、音频或视频才有意义，没有导入", "{} rows need an image, audio or video and were left out"),
        Text("这里训练的是文字模型：换成只有文字的数据", "only text models can be trained here: use text-only rows"),
    ),
    "media_mark": Kind(
        Text("{} 行里有 <image> 一类的标记，但没有图片，当作文字",
             "{} rows contain a marker such as <image> without an image: treated as text"),
        Text("不是要教的文字，就用“查找替换”删去", "if it should not be learned, remove it with find and replace"),
    ),
    "scalar": Kind(
        Text("{} 行里有数字、是否或日期，已写成文字", "{} rows contain a number, a boolean or a date: converted to text"),
        Text("看看写法是不是想要的", "check that it reads correctly"),
    ),
    "blank": Kind(
        Text("{} 行里有 NaN 一类的空值，当作空的", "{} rows contain NaN or similar: treated as empty"),
        Text("本该有内容的，就在原文件里补上", "fill in the values in the source file"),
    ),
    "joined": Kind(
        Text("{} 行里有一组文字，逐段接在一起", "{} rows contain a list of texts: joined, one per line"),
        Text("看看接起来还通不通", "check that they read well together"),
    ),
    "alternatives": Kind(
        Text("{} 行的问题有几种问法：每种各成一行", "{} rows contain several phrasings of a question: each became its own row"),
        Text("不想要的问法，到“内容与编辑”里删去", "delete the phrasings you do not want"),
    ),
    "context": Kind(
        Text("{} 行另有材料（input 或 context），接在问题后面", "{} rows contain context for the question: appended to it"),
        Text("看看预览里是不是想要的样子", "check the preview"),
    ),
    "half_past": Kind(
        Text("{} 行的历史对话最后一句没有回答，已略去", "the history of {} rows ends with an unanswered question, which was left out"),
        Text("看看这些行还通不通", "check that the rows still make sense"),
    ),
    "turns": Kind(
        Text("{} 行是写在文字里的对话，已拆成一问一答", "{} rows were dialogues written as text: split into questions and answers"),
        Text("要当普通文字训练，就把格式指定为 text", "to train on them as plain text, select the format text"),
    ),
    "prose": Kind(
        Text("{} 行没有对话的标记，没有导入", "{} rows have no dialogue markers and were left out"),
        Text("它们若是文字语料，就另存成一个文件，按 text 导入", "save plain text in a separate file and import it as text"),
    ),
    "not_text": Kind(
        Text("聊天记录里有 {} 条不是文字（图片、语音、系统通知等），已略去",
             "{} messages of the chat log are not text (images, audio, notices) and were left out"),
        Text("看看前后还连不连得上", "check that the messages around them still make sense"),
    ),
    "unanswered": Kind(
        Text("聊天记录里有 {} 段对话没有助手的回答，已略去",
             "{} conversations of the chat log have no answer from the assistant and were left out"),
        Text("停顿的时间改长一些，会有更多接上", "a longer pause joins more messages into one conversation"),
    ),
    "masked": Kind(
        Text("{} 行里的名字、号码、链接已遮住", "names, numbers or links of {} rows were masked"),
        Text("要保留，就在导入时关掉遮盖（--no-mask）", "to keep them, turn masking off when importing (--no-mask)"),
    ),
    "stripped": Kind(
        Text("{} 行首尾的对话模板标记已去掉", "prompt template tokens were removed from the start or end of {} rows"),
        Text("XTuner 会按所选模板自己加上", "XTuner adds those of the selected template"),
    ),
    "header": Kind(
        Text("表头在第 {} 行，上面的没有读", "the header is row {}; the rows above it were not read"),
        Text("不对的话，就删去表头上面的行再导入", "if that is wrong, delete the rows above the header and import again"),
    ),
    "no_header": Kind(
        Text("没有表头：第一行就当作数据，两列当作问题和回答",
             "no header found: the first row is treated as data, the columns as question and answer"),
        Text("若第一行其实是表头，改成“问题”“回答”再导入", "if it is a header, name it question and answer"),
    ),
    "merged": Kind(
        Text("{} 个合并的单元格，每一行都填上了它的内容", "{} cells are merged: the content was copied to each row"),
        Text("看看预览里是不是想要的样子", "check the preview"),
    ),
}  # fmt: skip


@dataclass(slots=True)
class Notes:
    """Collects notices; `number` is the current row. Call `findings` at the end."""

    number: int = 0
    loss: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    speakers: Counter[str] = field(default_factory=Counter)
    _rows: dict[str, list[int]] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)
    _used: dict[str, None] = field(default_factory=dict)

    def note(self, kind: str, count: int = 1) -> None:
        """Add a notice of a known kind for this row; a row counts once."""
        if self._last.get(kind) == self.number and self.number:
            return
        self._note(kind)
        self.counts[kind] += count

    def leave(self, name: str) -> None:
        """Note that a field with text is not used in this row."""
        name = showable(str(name)[:200])
        key = f"unused {name}"
        if self._last.get(key) == self.number or (name not in self.unused and len(self.unused) >= MOST_KEPT):
            return
        self._note(key)
        self.unused[name] += 1

    def use(self, name: str) -> None:
        """Mark a field that was noted as not used as used after all."""
        self.unused.pop(name, None)
        self._used[name] = None

    def go_on(self, later: "Notes") -> None:
        """Merge the notes of the following rows, which `later` counted from 1."""
        for name in later._used:
            self.unused.pop(name, None)
        refused = set()
        for name, count in later.unused.items():
            if name in self.unused or len(self.unused) < MOST_KEPT:
                self.unused[name] += count
            else:
                refused.add(f"unused {name}")
        for name, count in later.speakers.items():
            if name in self.speakers or len(self.speakers) < MOST_SPEAKERS:
                self.speakers[name] += count
        self.counts.update(later.counts)
        for key, numbers in later._rows.items():
            if key not in refused:
                rows = self._rows.setdefault(key, [])
                rows += [self.number + number for number in numbers[: MOST_NAMED - len(rows)]]
        self.loss = self.loss or later.loss
        self.number += later.number

    def _note(self, key: str) -> None:
        self._last[key] = self.number
        rows = self._rows.setdefault(key, [])
        if self.number and len(rows) < MOST_NAMED:
            rows.append(self.number)

    def findings(self) -> list[Finding]:
        """Return each kind once, with its count and first rows."""
        told = [self._finding(kind, KINDS[kind], str(count)) for kind, count in self.counts.items() if kind in KINDS]
        unused = self.unused.most_common()
        told += [_unused(name, count, self._rows[f"unused {name}"]) for name, count in unused[:MOST_UNUSED]]
        if len(unused) > MOST_UNUSED:
            names = "、".join(name for name, _ in unused[MOST_UNUSED : MOST_UNUSED + 20])
            told.append(_unused(f"{names}…", len(unused) - MOST_UNUSED, []))
        return told

    def facts(self) -> dict[str, Any]:
        """Return what is recorded with the dataset: counts per kind, and the unused fields with their row counts."""
        return {"noted": dict(self.counts), "unused": dict(self.unused.most_common(MOST_KEPT))}

    def _finding(self, kind: str, known: Kind, count: str) -> Finding:
        shown = _shown(
            self._rows[kind] if kind not in ("header", "no_header", "merged", "not_text", "unanswered") else []
        )
        message = Text(
            known.message.zh.replace("{}", count) + shown.zh,
            _singular(known.message.en.replace("{}", count)) + shown.en,
        )
        return Finding(kind=kind, severity=known.severity, where="rows", message=message, hint=known.hint)


def not_read(left_out: list[str]) -> list[Finding]:
    """Report the sheets of an Excel file that were not read."""
    if not left_out:
        return []
    names = [name[:40] for name in left_out[:10]]
    message = Text(
        f"只读了第一个有内容的工作表，没有读：{'、'.join(names)}",
        f"only the first non-empty sheet was read; not read: {', '.join(names)}",
    )
    hint = Text(
        "要用它们，就在导入时选上工作表（--sheet）", "to include them, select the sheets when importing (--sheet)"
    )
    return [Finding(kind="sheets", severity="warning", where="rows", message=message, hint=hint)]


def _unused(name: str, count: int, rows: list[int]) -> Finding:
    shown = _shown(rows)
    return Finding(
        kind="unused",
        severity="warning",
        where="rows",
        message=Text(
            f"{name[:80]} 列没有用到，{count} 行{shown.zh}",
            f"column {name[:80]} is not used, {count} row{'s' if count > 1 else ''}{shown.en}",
        ),
        hint=Text(
            "它若是问题、回答或系统提示词，就在导入时指明列",
            "if it is the question, answer or system prompt, assign it when importing",
        ),
    )


def _singular(sentence: str) -> str:
    """Put an English sentence about 1 row into the singular."""
    verbs = {"are": "is", "were": "was", "have": "has"}
    return (
        re.sub(
            r"\b1 (row|message|conversation|cell)s( of the chat log)? (\w+)",
            lambda match: f"1 {match[1]}{match[2] or ''} {verbs.get(match[3], match[3] + 's')}",
            sentence,
            count=1,
        )
        if sentence.startswith("1 ")
        else sentence
    )


def _shown(rows: list[int]) -> Text:
    if not rows:
        return Text("", "")
    numbers = ", ".join(map(str, rows))
    more = "…" if len(rows) == MOST_NAMED else ""
    return Text(
        f"（第 {numbers.replace(', ', '、')}{more} 行）", f" (row{'s' if len(rows) > 1 else ''} {numbers}{more})"
    )
