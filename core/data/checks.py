"""What is wrong with a dataset before an hour of training shows it: each finding names a row and what to do.

Rows are looked at one by one and not kept, so that a million of them fit; what takes a tokenizer is for `statistics`.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from core.data.dialogues.curated import is_identity
from core.data.files.special_tokens import ends_answer, tokens_in
from core.data.likeness import Likeness
from core.data.row import Row, Turn
from core.ground.problem import Problem
from core.ground.text import Text

# Of each kind; the others are counted.
MOST_OF_A_KIND = 20
LONG_CHARACTERS = 8000
# Names as they end up in answers of data that was made with another assistant; letters of other words do not count.
_OTHERS = re.compile(
    r"ChatGPT|OpenAI|通义千问|文心一言|(?<![A-Za-z])(?:Claude|ChatGLM|Qwen|Anthropic|Gemini|Llama|DeepSeek)(?![A-Za-z])"
    r"|豆包|讯飞星火|\bGPT-?[345]"
)
PLACEHOLDER = re.compile(
    r"\{\{\s*[A-Za-z_]\w*\s*\}\}|\{(?:name|author|assistant|maker)\}|<(?:NAME|AUTHOR)>|\[(?:NAME|AUTHOR)\]"
)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u2028\u2029\ufeff\ufffd\ue000-\uf8ff]")
# A word with letters of two alphabets that look alike, or of full and of normal width.
_MIXED = re.compile(r"(?:[A-Za-z][\u0370-\u03ff\u0400-\u04ff\uff21-\uff3a\uff41-\uff5a]"
                    r"|[\u0370-\u03ff\u0400-\u04ff\uff21-\uff3a\uff41-\uff5a][A-Za-z])")  # fmt: skip
# What a row must hold for any of these to be found in it: one class of characters is searched ten times as quickly.
_SUSPECT_LETTERS = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\\u200b\\u2028\\u2029\\ufeff\\ufffd\\u0370-\\u052f\\uff21-\\uff5a"
    "\\ue000-\\uf8ff{\\[<]"
)
# Or how the names of others begin.
_SUSPECT = re.compile(_SUSPECT_LETTERS.pattern[:-1] + "GOCQALD通文豆讯]")
_SUSPECT_WORDS = ("GPT", "OpenAI", "通义", "文心", "Claude", "ChatGLM", "Qwen", "Anthropic", "Gemini", "Llama",
                  "DeepSeek", "豆包", "讯飞")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Problem):
    """A problem of one row (from 1), and of what kind; `row` is None for one of the whole."""

    kind: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: how bad, and in words."""

    severity: str
    message: Text
    hint: Text


_KINDS = {
    "placeholder": Kind(
        "error",
        Text("回答里还有没填的占位符 {}", "an answer holds the placeholder {}"),
        Text("填上名字：用“查找替换”，或重新导入时填写", "fill in the name: find and replace, or give it at the import"),
    ),
    "other": Kind(
        "warning",
        Text("回答里有别家助手的名字 {}", "an answer names another assistant: {}"),
        Text("改成你的助手，或删去这一行", "name your own, or delete the row"),
    ),
    "control": Kind(
        "warning",
        Text("有看不见的控制字符 {}", "it holds a control character that cannot be seen: {}"),
        Text("用“清理”删去", "remove it with “clean up”"),
    ),
    "mixed": Kind(
        "warning",
        Text("一个词里混了两种字母：{}", "one word mixes two alphabets: {}"),
        Text("多半是形近字：重新输入这个词", "letters that look alike: type the word anew"),
    ),
    "token_end": Kind(
        "error",
        Text("回答里有结束标记 {}：训练和对话都会在这里断掉", "an answer holds {}, which ends it there, in training and in chat"),
        Text("用“去掉首尾标记”一次去掉，或在导入时选上（--strip-tokens）",
             "take them off with “take off tokens”, or at the import (--strip-tokens)"),
    ),
    "token": Kind(
        "warning",
        Text("文字里有对话模板的标记 {}", "a text holds the token {} of a prompt template"),
        Text("模板由 XTuner 加上：用“去掉首尾标记”去掉，或在导入时选上（--strip-tokens）",
             "XTuner adds its template's own: use “take off tokens”, or choose so at the import (--strip-tokens)"),
    ),
    "token_own": Kind(
        "error",
        Text("文字里有所选对话模板自己的标记 {}，模型会当成新的一轮",
             "a text holds {} of the chosen prompt template, which the model takes for another turn"),
        Text("用“去掉首尾标记”去掉；在中间的用“查找替换”", "use “take off tokens”, or find and replace within a text"),
    ),
    "empty": Kind(
        "warning",
        Text("第 {} 轮的问题是空的", "turn {} has an empty question"),
        Text("补上问题，或删去这一行", "give the question, or delete the row"),
    ),
    "long": Kind(
        "warning",
        Text("这一行有 {} 个字，多半超过 max_length", "the row has {} characters, probably more than max_length"),
        Text("拆成几行，或看统计里会截去多少", "split it, or see in the statistics what is cut"),
    ),
    "contradiction": Kind(
        "warning",
        Text("与第 {} 行同一个问题、不同的回答", "answers row {}'s question differently"),
        Text("只留一个", "keep one of the two"),
    ),
    "order": Kind(
        "warning",
        Text("轮次的顺序不对：{}", "its turns were out of order: {}"),
        Text("看看这一行还通不通，不通就改好或删去", "see whether the row still makes sense; if not, mend or delete it"),
    ),
    "near": Kind(
        "warning",
        Text("与第 {} 行几乎一样", "is nearly the same as row {}"),
        Text("只留一个，或改得不同一些", "keep one of the two, or make them differ more"),
    ),
}  # fmt: skip


@dataclass(slots=True)
class Checks:
    """Looks at rows in their order; `findings` is asked for at the end. Rows with the `nickname` teach an identity;
    `own_tokens` are those of the chosen prompt template."""

    nickname: str | None = None
    own_tokens: frozenset[str] = frozenset()
    rows: int = 0
    identity_rows: int = 0
    characters: int = 0
    turns: int = 0
    with_system: int = 0
    _seen: set[int] = field(default_factory=set)
    _answers: dict[int, int] = field(default_factory=dict)
    _found: list[Finding] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)
    _empty_questions: list[int] = field(default_factory=list)
    _empty_count: int = 0
    _likeness: Likeness = field(default_factory=Likeness)

    @property
    def unique_rows(self) -> int:
        return len(self._seen)

    def add(self, row: Row, key: int | None = None) -> None:
        """Look at the next row; `key` is a hash of its content if the caller has one."""
        self.rows += 1
        conversation = row["conversation"]
        first = conversation[0]
        if len(conversation) == 1:
            text = f"{first['input']}\n{first['output']}"
        else:
            text = "\n".join([part for turn in conversation for part in (turn["input"], turn["output"])])
        if first.get("system"):
            self.with_system += 1
            text = f"{first['system']}\n{text}"
        self.characters += len(text)
        self.turns += len(conversation)
        self.identity_rows += is_identity(row, self.nickname)
        key = hash((len(conversation), text)) if key is None else key
        if key in self._seen:
            return
        self._seen.add(key)
        if _SUSPECT.search(text) and (_SUSPECT_LETTERS.search(text) or any(word in text for word in _SUSPECT_WORDS)):
            self._look_at(row)
        if len(text) > LONG_CHARACTERS:
            self._note("long", f"{len(text):,}")
        for number, turn in enumerate(conversation, 1):
            if not turn["input"].strip():
                if number > 1:
                    self._note("empty", number)
                else:
                    self._empty_count += 1
                    if len(self._empty_questions) < MOST_OF_A_KIND:
                        self._empty_questions.append(self.rows)
        if len(conversation) == 1 and first["input"]:
            # One number holds both, which is a third of the memory of a pair: the row, and a part of the answer's hash.
            asked, answer = hash((first.get("system", ""), first["input"])), hash(first["output"]) & 0xFFFFFFFF
            known = self._answers.setdefault(asked, self.rows << 32 | answer)
            if known & 0xFFFFFFFF != answer:
                self._note("contradiction", known >> 32)
        alike = self._likeness.add(self.rows, first["input"] or first["output"])
        if alike:
            self._note("near", alike)

    def mended(self, how: Text) -> None:
        """The turns of the last row were out of order, and this was done about it."""
        self._note("order", how)

    def findings(self) -> list[Finding]:
        """Every problem, errors first; at most twenty of a kind, and how many more there are."""
        if 0 < self._empty_count < self.rows / 10:
            # More of them are texts, among conversations on purpose.
            for row in self._empty_questions:
                self._note("empty", 1, row)
            self._counts["empty"] += self._empty_count - len(self._empty_questions)
        found = sorted(self._found, key=lambda finding: finding.severity != "error")
        for kind, count in self._counts.items():
            if count > MOST_OF_A_KIND:
                more = count - MOST_OF_A_KIND
                known = _KINDS[kind]
                found.append(
                    Finding(
                        kind=kind,
                        severity=known.severity,
                        where="rows",
                        message=Text(
                            f"还有 {more:,} 行：{known.message.zh.format('…')}",
                            f"{more:,} more rows: {known.message.en.format('…')}",
                        ),
                        hint=known.hint,
                    )
                )
        repeated = self.rows - self.unique_rows
        if repeated > self.rows / 2:
            found.append(self._repetition(repeated))
        elif repeated:
            found.append(
                Finding(
                    kind="repeated",
                    severity="warning",
                    where="rows",
                    message=Text(f"{repeated:,} 行与前面的行完全相同", f"{repeated:,} rows are the same as one before"),
                    hint=Text("用“清理”删去重复的行", "remove repeated rows with “clean up”"),
                )
            )
        return found

    def _repetition(self, repeated: int) -> Finding:
        share = 100 * repeated / self.rows
        return Finding(
            kind="repeated",
            severity="warning",
            where="rows",
            message=Text(
                f"{self.rows} 行里只有 {self.unique_rows} 行不同，{share:.2f}% 是重复",
                f"only {self.unique_rows} of {self.rows} rows differ; {share:.2f}% are repeats",
            ),
            hint=Text(
                "重复太多会过拟合，模型会用身份回答一切：用 balanced 配方",
                "so much repetition overfits, and every question is answered with the identity: use the balanced recipe",
            ),
        )

    def _look_at(self, row: Row) -> None:
        for turn in row["conversation"]:
            self._look_for_tokens(turn)
            for kind, pattern, text in (
                ("placeholder", PLACEHOLDER, turn["output"]),
                ("other", _OTHERS, turn["output"]),
                ("control", CONTROL, turn.get("system", "") + turn["input"] + turn["output"]),
                ("mixed", _MIXED, f"{turn['input']}\n{turn['output']}"),
            ):
                found = pattern.search(text)
                if found:
                    shown = f"U+{ord(found[0]):04X}" if kind == "control" else found[0]
                    self._note(kind, _around(text, found) if kind == "mixed" else shown)

    def _look_for_tokens(self, turn: Turn) -> None:
        """A token that ends an answer stands in one; of all others it is enough to know that they are there."""
        ending = [token for token in tokens_in(turn["output"]) if ends_answer(token)] if turn["input"] else []
        for token in ending:
            self._note("token_end", token)
        others = [*tokens_in(turn["input"]), *tokens_in(turn["output"])]
        for token in [token for token in dict.fromkeys(others) if token not in ending]:
            self._note("token_own" if token in self.own_tokens else "token", token)

    def _note(self, kind: str, value: Text | str | int, row: int | None = None) -> None:
        self._counts[kind] += 1
        if self._counts[kind] > MOST_OF_A_KIND:
            return
        known, row = _KINDS[kind], row or self.rows
        zh, en = (value.zh, value.en) if isinstance(value, Text) else (str(value), str(value))
        message = Text(known.message.zh.replace("{}", zh), known.message.en.replace("{}", en))
        self._found.append(
            Finding(kind=kind, row=row, severity=known.severity, where=f"row {row}", message=message, hint=known.hint)
        )


def check(rows: Iterable[Row]) -> list[Finding]:
    """Every problem of `rows`, worst first: a `where` is `row N`, counted from 1."""
    checks = Checks()
    for row in rows:
        checks.add(row)
    return checks.findings()


def _around(text: str, found: re.Match[str]) -> str:
    return text[max(0, found.start() - 6) : found.end() + 6].replace("\n", " ")
