"""A row of a dataset: one conversation, in the form that XTuner reads with `dataset_map_fn=None`.

{"conversation": [{"system": "…", "input": "…", "output": "…"}, …]}      `system` only in the first turn, if any
"""

from typing import NotRequired, TypedDict

from core.ground.text import Text


class Turn(TypedDict):
    """A question and its answer."""

    system: NotRequired[str]
    input: str
    output: str


class Row(TypedDict):
    """One conversation of one or more turns."""

    conversation: list[Turn]


def single(question: str, answer: str) -> Row:
    """A conversation of one turn."""
    return {"conversation": [{"input": question, "output": answer}]}


def problem(row: object) -> Text | None:
    """Why `row` is not a conversation that can be trained on; None if it is one."""
    turns = row.get("conversation") if isinstance(row, dict) else None
    if not isinstance(turns, list) or not turns:
        return Text("没有对话", "no conversation")
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict):
            return Text(f"第 {number} 轮不是对象", f"turn {number} is not an object")
        asked, answered, system = turn.get("input"), turn.get("output"), turn.get("system", "")
        for part, text in (("input", asked), ("output", answered)):
            if not isinstance(text, str):
                return Text(f"第 {number} 轮的 {part} 不是文字", f"turn {number} has no text {part}")
        if not isinstance(system, str):
            return Text(f"第 {number} 轮的系统提示词不是文字", f"turn {number} has a system prompt that is no text")
        try:
            f"{system}{asked}{answered}".encode()
        except UnicodeEncodeError:
            return Text(f"第 {number} 轮有残缺的字符", f"turn {number} holds half a character")
        if not answered.strip():
            return Text(f"第 {number} 轮的回答是空的", f"turn {number} has an empty output")
        if number == 1 and len(turns) > 1 and not asked.strip():
            return Text("第 1 轮的问题是空的", "turn 1 has an empty input")
    return None
