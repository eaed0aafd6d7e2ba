"""Finds problems of a dataset before an hour of training shows them; each finding names a row and a next step.

Rows are inspected one by one (`looks`) and not kept, so that a million rows fit in memory. Checks that need a tokenizer
are in `statistics`.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from core.data.likeness import Likeness
from core.data.looks import compared, look, text_of
from core.data.row import Row
from core.ground.problem import Problem
from core.ground.text import Text

# Findings kept per kind; further ones are only counted.
MOST_OF_A_KIND = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Problem):
    """A problem of one row (counted from 1; None: of the whole dataset) and its kind."""

    kind: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: severity, message and hint."""

    severity: str
    message: Text
    hint: Text


_KINDS = {
    "placeholder": Kind(
        "error",
        Text("回答里还有没填的占位符 {}", "an answer contains the placeholder {}"),
        Text("填上名字：用“查找替换”，或重新导入时填写", "fill in the name with find and replace, or when importing"),
    ),
    "other": Kind(
        "warning",
        Text("回答里有别家助手的名字 {}", "an answer names another assistant: {}"),
        Text("改成你的助手，或删去这一行", "change it to your assistant's name, or delete the row"),
    ),
    "control": Kind(
        "warning",
        Text("有看不见的控制字符 {}", "it contains an invisible control character: {}"),
        Text("用“清理”删去", "remove it with “Clean up”"),
    ),
    "mixed": Kind(
        "warning",
        Text("一个词里混了两种字母：{}", "one word mixes two alphabets: {}"),
        Text("多半是形近字：重新输入这个词", "probably look-alike letters: retype the word"),
    ),
    "token_end": Kind(
        "error",
        Text("回答里有结束标记 {}：训练和对话都会在这里断掉", "an answer contains {}, which ends it at that point in training and chat"),
        Text("用“去掉首尾标记”一次去掉，或在导入时选上（--strip-tokens）",
             "remove them with “Remove template tokens”, or when importing (--strip-tokens)"),
    ),
    "token": Kind(
        "warning",
        Text("文字里有对话模板的标记 {}", "a text contains the prompt template token {}"),
        Text("模板由 XTuner 加上：用“去掉首尾标记”去掉，或在导入时选上（--strip-tokens）",
             "XTuner adds the tokens of its template: use “Remove template tokens”, or --strip-tokens when importing"),
    ),
    "token_own": Kind(
        "error",
        Text("文字里有所选对话模板自己的标记 {}，模型会当成新的一轮",
             "a text contains {} of the selected prompt template, which the model would take for a new turn"),
        Text("用“去掉首尾标记”去掉；在中间的用“查找替换”", "use “Remove template tokens”, or find and replace inside texts"),
    ),
    "empty": Kind(
        "warning",
        Text("第 {} 轮的问题是空的", "turn {} has an empty question"),
        Text("补上问题，或删去这一行", "enter the question, or delete the row"),
    ),
    "long": Kind(
        "warning",
        Text("这一行有 {} 个字，多半超过 max_length", "the row has {} characters, probably more than max_length"),
        Text("拆成几行，或看统计里会截断多少", "split it, or see in the statistics how much is truncated"),
    ),
    "contradiction": Kind(
        "warning",
        Text("与第 {} 行同一个问题、不同的回答", "gives a different answer to the question of row {}"),
        Text("只留一个", "keep one of the two"),
    ),
    "order": Kind(
        "warning",
        Text("轮次的顺序不对：{}", "its turns were out of order: {}"),
        Text("看看这一行还通不通，不通就改好或删去", "check that the row still makes sense; otherwise fix or delete it"),
    ),
    "near": Kind(
        "warning",
        Text("与第 {} 行几乎一样", "is nearly identical to row {}"),
        Text("只留一个，或改得不同一些", "keep one of the two, or make them more different"),
    ),
}  # fmt: skip


@dataclass(slots=True)
class Checks:
    """Checks rows in order; call `findings` at the end.

    Rows with the `nickname` teach an identity; `own_tokens` are the tokens of the chosen prompt template.
    """

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
        """Check the next row; `key` is a hash of its content if the caller already has one."""
        looked = look(row, self.nickname, self.own_tokens)
        self.take(looked, hash((looked[1], text_of(row))) if key is None else key, lambda: row)

    def take(self, looked: tuple, key: int, row: Callable[[], Row]) -> None:
        """Add what was seen in the next row (the fields of Looked).

        `row` is called only if the row is compared with others. `key` is a hash of its content.
        """
        self.rows += 1
        characters, turns, with_system, identity, asked, answered, comparable, noted = looked
        self.characters += characters
        self.turns += turns
        self.with_system += with_system
        self.identity_rows += identity
        if key in self._seen:
            return
        self._seen.add(key)
        for kind, value in noted:
            if kind == "empty" and value == 1:
                self._empty_count += 1
                if len(self._empty_questions) < MOST_OF_A_KIND:
                    self._empty_questions.append(self.rows)
            else:
                self._note(kind, value)
        if asked is not None:
            # One integer holds the row number and part of the answer's hash: a third of the memory of a tuple.
            known = self._answers.setdefault(asked, self.rows << 32 | answered)
            if known & 0xFFFFFFFF != answered:
                self._note("contradiction", known >> 32)
        if comparable and not self._likeness.full:
            alike = self._likeness.add(self.rows, compared(row()))
            if alike:
                self._note("near", alike)

    def mended(self, how: Text) -> None:
        """Note that the turns of the last row were out of order, and how that was fixed."""
        self._note("order", how)

    def findings(self) -> list[Finding]:
        """Return all problems, errors first; at most twenty per kind, then the number of the others."""
        if 0 < self._empty_count < self.rows / 10:
            # A larger share means that the dataset mixes texts and conversations on purpose.
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
                    message=Text(f"{repeated:,} 行与前面的行完全相同", f"{repeated:,} rows duplicate an earlier one"),
                    hint=Text("用“清理”删去重复的行", "remove duplicate rows with “Clean up”"),
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
                f"only {self.unique_rows} of {self.rows} rows are unique; {share:.2f}% are duplicates",
            ),
            hint=Text(
                "重复太多会过拟合，模型会用身份回答一切：用 balanced 配方",
                "this much repetition overfits: the model answers every question with its identity. Use the balanced recipe",
            ),
        )

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
    """Return all problems of `rows`, errors first; rows are counted from 1."""
    checks = Checks()
    for row in rows:
        checks.add(row)
    return checks.findings()
