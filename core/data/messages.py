"""A row of a dataset: one conversation, in the form that XTuner reads with `dataset_map_fn=None`.

{"conversation": [{"system": "…", "input": "…", "output": "…"}, …]}      `system` only in the first turn, if any
"""

from typing import NotRequired, TypedDict


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


def problem(row: object) -> str | None:
    """Why `row` is not a conversation that can be trained on, in English for a log; None if it is one."""
    turns = row.get("conversation") if isinstance(row, dict) else None
    if not isinstance(turns, list) or not turns:
        return "no conversation"
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict):
            return f"turn {number} is not an object"
        for part in ("input", "output"):
            if not isinstance(turn.get(part), str):
                return f"turn {number} has no text {part}"
        if not isinstance(turn.get("system", ""), str):
            return f"turn {number} has a system prompt that is no text"
        try:
            (turn.get("system", "") + turn["input"] + turn["output"]).encode()
        except UnicodeEncodeError:
            return f"turn {number} holds half a character"
        if not turn["output"].strip():
            return f"turn {number} has an empty output"
        if number == 1 and not turn["input"].strip() and len(turns) > 1:
            return "turn 1 has an empty input"
    return None
