"""Preference data of any shape: a record with a better and a worse answer is reduced to the better one.

The better answer is identified by its name (chosen, rejected), by a field that names the winner, by scores, or, in a
list of two answers, by the order: the first is better, as in LLaMA-Factory.
"""

import re
from typing import Any

from core.data.files.fields import ANSWER, Layout, plain_name
from core.data.files.notes import Notes
from core.data.files.values import Unusable, is_blank

_PAIRED = re.compile(r"(response|answer|output|completion|reply|conversation|model|回答|答案)(0|1|2|a|b|甲|乙)")
_FIRST, _SECOND = ("0", "a", "甲"), ("1", "b", "乙")
_WINNER = (
    "winner betterresponseid saferresponseid preference preferred choice better chosen label overallpreference 偏好 胜者"
).split()
_SCORED = ("score", "rating", "reward", "rank", "overall_score", "pm_score")
_ANSWERS = ("answers", "responses", "completions", "outputs", "candidates")


def is_preference(layout: Layout, keys: tuple[Any, ...]) -> bool:
    """Return whether the field names indicate several answers, one of which is better."""
    return bool(layout.worse or layout.better or _pair(keys) or _several(keys))


def better(record: dict[str, Any], layout: Layout, notes: Notes) -> dict[str, Any]:
    """Return the record with its better answer only. Raises Unusable if no answer is better."""
    pair = _pair(tuple(record))
    if pair and not (layout.worse and layout.better):
        return _winning(record, pair, notes)
    several = _several(tuple(record))
    if several and layout.answer in (None, several) and layout.better is None:
        return _best(record, several, notes)
    if layout.better and is_blank(record[layout.better]):
        raise Unusable(f"没有较好的回答（{layout.better}）", f"there is no preferred answer ({layout.better})")
    rest = {key: value for key, value in record.items() if key not in (layout.better, layout.worse)}
    if layout.worse and not is_blank(record[layout.worse]):
        notes.note("preference")
    elif layout.worse is None and layout.answer is not None:
        # It has an answer of its own, and a field whose name only looks like a better one.
        return record
    if layout.better is None:
        return rest
    return _with_answer(rest, layout, record[layout.better])


def _with_answer(rest: dict[str, Any], layout: Layout, answer: Any) -> dict[str, Any]:
    """Combine the question with one answer: a text, a message, or messages that may repeat the question."""
    if isinstance(answer, dict):
        answer = [answer]
    # {"messages": [...], "input": {"messages": [...]}}: the question is a list itself.
    past = next(
        (rest[key] for key in (*layout.chats, layout.question) if key and isinstance(rest.get(key), list)), None
    )
    held = rest.get(layout.question) if layout.question else None
    if past is None and isinstance(held, dict) and isinstance(held.get("messages"), list):
        past = held["messages"]
    kept = {key: value for key, value in rest.items() if key not in layout.chats and key != layout.question}
    if isinstance(answer, list):
        whole = len(answer) > 1 or past is None
        if past is None and len(answer) == 1 and layout.question and isinstance(rest.get(layout.question), str):
            past, whole = [{"role": "user", "content": rest[layout.question]}], False
        return {**kept, "messages": answer if whole else [*past, *answer]}
    if past is not None:
        return {**kept, "messages": [*past, {"role": "assistant", "content": answer}]}
    if layout.question is None and layout.chats == ():
        # Everything in one text: "\n\nHuman: …\n\nAssistant: …".
        return {**rest, "text": answer}
    return {**rest, "response": answer} if layout.answer is None else {**rest, layout.answer: answer}


def _pair(keys: tuple[Any, ...]) -> tuple[str, str] | None:
    """Return the two keys that hold numbered or lettered answers of the same name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for key in keys:
        match = _PAIRED.fullmatch(plain_name(key))
        if match and match[1] != "model":
            found.setdefault(match[1], []).append((match[2], key))
    return next(((p[0][1], p[1][1]) for p in (sorted(pair) for pair in found.values()) if len(p) == 2), None)


def _several(keys: tuple[Any, ...]) -> str | None:
    return next((key for key in keys if plain_name(key) in _ANSWERS), None)


def _winning(record: dict[str, Any], pair: tuple[str, str], notes: Notes) -> dict[str, Any]:
    said = next(
        (record[key] for name in _WINNER for key in record if plain_name(key) == name and key not in pair), None
    )
    winner = _place(said, pair)
    rest = {key: value for key, value in record.items() if key not in pair and plain_name(key) not in _WINNER}
    if winner is None:
        raise Unusable(
            f"有两个回答（{pair[0]}、{pair[1]}），没有说哪个好",
            f"there are two answers ({pair[0]}, {pair[1]}), and neither is marked as preferred",
        )
    notes.note("preference")
    answer = record[pair[winner]]
    return {**rest, ("messages" if isinstance(answer, list) else "response"): answer}


def _place(said: Any, pair: tuple[str, str]) -> int | None:
    """Return which of two answers a field names as better: 0 or 1; None if neither."""
    if isinstance(said, bool) or said is None:
        return None
    word = plain_name(said)
    for place, key in enumerate(pair):
        if word == plain_name(key):
            return place
    ends = [_PAIRED.fullmatch(plain_name(key))[2] for key in pair]
    if word in ends:
        return ends.index(word)
    tail = word[-1:]
    if tail in _FIRST and word.startswith(("model", "response", "answer", "assistant", "回答")):
        return 0
    if tail in _SECOND and word.startswith(("model", "response", "answer", "assistant", "回答")):
        return 1
    return None


def _best(record: dict[str, Any], key: str, notes: Notes) -> dict[str, Any]:
    """Pick the best of a list of answers by score, else the first; {"text": […]} is such a list too."""
    held = record[key]
    if isinstance(held, dict):
        held = held.get("text") or held.get("answer") or []
    answers = held if isinstance(held, list) else [held]
    answers = [answer for answer in answers if not is_blank(answer)]
    if not answers:
        raise Unusable(f"{key} 里没有回答", f"there is no answer in {key}")
    scores = [_score(answer) for answer in answers]
    listed = next(
        (record[name] for name in ("scores", "ratings", "rewards") if isinstance(record.get(name), list)), None
    )
    if listed and len(listed) == len(answers):
        scores = [score if isinstance(score, int | float) else None for score in listed]
    best = max(range(len(answers)), key=lambda place: scores[place] or 0) if None not in scores else 0
    if len(answers) > 1:
        notes.note("preference")
    answer = answers[best]
    if isinstance(answer, dict):
        answer = next((answer[name] for name in ("text", "content", "value", *ANSWER) if name in answer), answer)
    return {**{name: value for name, value in record.items() if name != key}, "response": answer}


def _score(answer: Any) -> float | None:
    if not isinstance(answer, dict):
        return None
    value = next((answer[name] for name in _SCORED if name in answer), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return -value if "rank" in answer else value
