"""What is wrong with a dataset before an hour of training shows it. Each finding names a row and what to do."""

from collections import Counter

from core.data.messages import Row
from core.ground.problem import Problem
from core.ground.text import Text

_OTHERS = ("ChatGPT", "通义千问", "文心一言", "Claude", "ChatGLM", "Qwen")


def check(rows: list[Row]) -> list[Problem]:
    """Every problem of `rows`, worst first: a `where` is `row N`, counted from 1."""
    problems: list[Problem] = []
    seen: dict[str, tuple[int, str]] = {}
    copies = Counter(str(row["conversation"]) for row in rows)
    repeated = sum(count - 1 for count in copies.values())
    for number, row in enumerate(rows, 1):
        for turn in row["conversation"]:
            if "{name}" in turn["output"] or "{{name}}" in turn["output"] or "{{author}}" in turn["output"]:
                problems.append(
                    _at(
                        number,
                        "error",
                        "回答里还有没填的占位符",
                        "an answer holds a placeholder",
                        "填上名字",
                        "fill in the name",
                    )
                )
            if any(other in turn["output"] for other in _OTHERS):
                problems.append(
                    _at(
                        number,
                        "warning",
                        "回答里有别家助手的名字",
                        "an answer names another assistant",
                        "改成你的助手",
                        "name your own",
                    )
                )
        question, answer = row["conversation"][0]["input"], row["conversation"][0]["output"]
        first = seen.setdefault(question, (number, answer))
        if question and len(row["conversation"]) == 1 and first[1] != answer:
            problems.append(
                _at(
                    number,
                    "warning",
                    f"与第 {first[0]} 行同一个问题、不同的回答",
                    f"answers row {first[0]}'s question differently",
                    "只留一个",
                    "keep one of the two",
                )
            )
    problems.sort(key=lambda found: found.severity != "error")
    if repeated > len(rows) / 2:
        share = 100 * repeated / len(rows)
        problems.append(
            Problem(
                severity="warning",
                where="rows",
                message=Text(
                    f"{len(rows)} 行里只有 {len(copies)} 行不同，{share:.2f}% 是重复",
                    f"only {len(copies)} of {len(rows)} rows differ; {share:.2f}% are repeats",
                ),
                hint=Text(
                    "重复太多会过拟合，模型会用身份回答一切：用 balanced 配方",
                    "so much repetition overfits, and every question is answered with the identity: use the balanced recipe",
                ),
            )
        )
    return problems


def _at(number: int, severity: str, zh: str, en: str, hint_zh: str, hint_en: str) -> Problem:
    return Problem(severity=severity, where=f"row {number}", message=Text(zh, en), hint=Text(hint_zh, hint_en))
