"""A row of a dataset: one conversation, in the form that XTuner reads with `dataset_map_fn=None`.

{"conversation": [{"system": "…", "input": "…", "output": "…"}, …]}      `system` only in the first turn, if any

A truncated answer has `need_eos_token` false: the model learns its text, but not that it ends there.
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
    """Return a conversation of one turn; the answer is truncated if not `whole`."""
    turn: Turn = {"input": question, "output": answer}
    return {"conversation": [turn if whole else {**turn, "need_eos_token": False}]}


def ended_or_not(rows: list[Row]) -> list[Row]:
    """Set `need_eos_token` in every turn if any turn has it: in a column, a missing value would be read as false."""
    if not any("need_eos_token" in turn for row in rows for turn in row["conversation"]):
        return rows
    return [{"conversation": [{**turn, "need_eos_token": turn.get("need_eos_token", True)} for turn in row["conversation"]]}
            for row in rows]  # fmt: skip


def problem(row: object, *, whole: bool = False) -> Text | None:
    """Return why `row` cannot be trained on; None if it can. `whole`: its characters are known to be complete."""
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
    """Return whether texts can be encoded: none contains half of a surrogate pair."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True
