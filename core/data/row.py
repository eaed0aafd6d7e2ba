"""A row of a dataset: one conversation, in the form that XTuner reads with `dataset_map_fn=None`.

{"conversation": [{"system": "…", "input": "…", "output": "…"}, …]}      `system` only in the first turn, if any

An answer that was cut off has `need_eos_token` false: it is learned as far as it goes, and not that it ends there.
"""

from typing import NotRequired, TypedDict

from core.ground.text import Text


class Turn(TypedDict):
    """A question and its answer."""

    system: NotRequired[str]
    input: str
    output: str
    need_eos_token: NotRequired[bool]


class Row(TypedDict):
    """One conversation of one or more turns."""

    conversation: list[Turn]


def single(question: str, answer: str, *, whole: bool = True) -> Row:
    """A conversation of one turn, its answer cut off where it is not `whole`."""
    turn: Turn = {"input": question, "output": answer}
    return {"conversation": [turn if whole else {**turn, "need_eos_token": False}]}


def ended_or_not(rows: list[Row]) -> list[Row]:
    """The same rows, each turn saying whether it ends where one of them does: in a column, silence would mean no."""
    if not any("need_eos_token" in turn for row in rows for turn in row["conversation"]):
        return rows
    return [{"conversation": [{**turn, "need_eos_token": turn.get("need_eos_token", True)} for turn in row["conversation"]]}
            for row in rows]  # fmt: skip


def problem(row: object, *, whole: bool = False) -> Text | None:
    """Why `row` is not a conversation that can be trained on; None if it is one. `whole`: its characters are known to be."""
    turns = row.get("conversation") if isinstance(row, dict) else None
    if not isinstance(turns, list) or not turns:
        return Text("没有对话", "no conversation")
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict):
            return Text(f"第 {number} 轮不是对象", f"turn {number} is not an object")
        asked, answered, system = turn.get("input"), turn.get("output"), turn.get("system", "")
        if not isinstance(asked, str) or not isinstance(answered, str):
            part = "output" if isinstance(asked, str) else "input"
            return Text(f"第 {number} 轮的 {part} 不是文字", f"turn {number} has no text {part}")
        if not isinstance(system, str):
            return Text(f"第 {number} 轮的系统提示词不是文字", f"turn {number} has a system prompt that is not text")
        if not whole and not _is_whole(system, asked, answered):
            return Text(f"第 {number} 轮有残缺的字符", f"turn {number} contains an incomplete character")
        if not answered.strip():
            return Text(f"第 {number} 轮的回答是空的", f"turn {number} has an empty output")
        if number == 1 and len(turns) > 1 and not asked.strip():
            return Text("第 1 轮的问题是空的", "turn 1 has an empty input")
    return None


def _is_whole(*texts: str) -> bool:
    """Whether texts can be written: none contains an incomplete character."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True
