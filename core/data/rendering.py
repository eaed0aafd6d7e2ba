"""Shows a row as the model sees it: its tokens, which of them are trained on, and any problems."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.data import tokens
from core.data.row import Row
from core.engine.presets import PromptTemplate
from core.ground.problem import Problem
from core.ground.text import Text
from core.ground.workspace import Workspace
from core.models.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token: id, text (empty if the next token completes the character), and whether it counts in the loss."""

    id: int
    text: str
    trained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """One row as used in training, with the problems of this row."""

    tokens: list[Token]
    problems: list[Problem]

    @property
    def trained(self) -> int:
        return sum(token.trained for token in self.tokens)

    def to_json(self) -> dict[str, Any]:
        return {
            "length": len(self.tokens),
            "trained": self.trained,
            "tokens": [{"id": token.id, "text": token.text, "trained": token.trained} for token in self.tokens],
            "problems": [problem.to_json() for problem in self.problems],
        }


def render(
    workspace: Workspace,
    model: Model,
    rows: Sequence[Row],
    template: PromptTemplate | None,
    *,
    system: str = "",
    max_length: int = 2048,
) -> list[Rendering]:
    """Render each row with its `template` (None: as is). `system` is the system prompt sent in evaluation and chat.

    Raises WorkFailed if the engine fails.
    """
    found = tokens.render(workspace, model, rows, template)
    return [
        Rendering(
            tokens=[Token(**token) for token in shown["tokens"]],
            problems=_problems(row, shown, system, max_length),
        )
        for row, shown in zip(rows, found, strict=True)
    ]


def _problems(row: Row, shown: dict[str, Any], system: str, max_length: int) -> list[Problem]:
    problems = []

    def warn(zh: str, en: str, hint_zh: str, hint_en: str) -> None:
        problems.append(Problem(severity="warning", where="row", message=Text(zh, en), hint=Text(hint_zh, hint_en)))

    if shown["doubled_bos"]:
        place = shown["doubled_bos"][0] + 1
        warn(
            f"第 {place} 个 token 又是一个开始符 <s>（BOS 重复）",
            f"token {place} is a duplicate beginning-of-sequence token",
            "数据里写了 <s>，而训练会自己加：从数据里删去",
            "the data contains one and training adds another: remove it from the data",
        )
    said = "\n".join(turn["system"] for turn in row["conversation"] if turn.get("system"))
    if said != system and said:
        warn(
            "这一行有系统提示词，而评测和对话时不发送同样的",
            "the row has a system prompt that evaluation and chat do not send",
            "在配置里把 SYSTEM 设成同样的文字，或从数据里删去",
            "set SYSTEM in the config to the same text, or remove it from the data",
        )
    elif system and not said:
        warn(
            "评测和对话时会发送系统提示词，而这一行没有",
            "evaluation and chat send a system prompt that the row does not have",
            "把配置里的 SYSTEM 设为空，或在数据里加上它",
            "clear SYSTEM in the config, or add it to the data",
        )
    if len(shown["tokens"]) > max_length:
        warn(
            f"有 {len(shown['tokens'])} 个 token，超过 max_length={max_length}：后面的会被截断",
            f"it has {len(shown['tokens'])} tokens, more than max_length={max_length}: the rest is truncated",
            "增大 max_length，或把这一行拆开",
            "increase max_length, or split the row",
        )
    if not any(token["trained"] for token in shown["tokens"][:max_length]):
        warn(
            "没有一个 token 参与训练",
            "no token is trained on",
            "回答被截断或不计损失：缩短问题",
            "the answer is truncated or excluded: shorten the question",
        )
    return problems
