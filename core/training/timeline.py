"""What the model answered before, during and after the training, from the log that XTuner writes anyway.

Needs the lines `Evaluation at iteration N.` that `engine/entry` puts before the answers.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from core.engine.presets import PromptTemplate

_EVALUATION = re.compile(r"Evaluation at iteration (\d+)\.$")
_LOG_LINE = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d - mmengine - ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers to the evaluation questions after `iter` iterations."""

    iter: int
    answers: tuple[str, ...]


def timeline(work_dir: Path, template: PromptTemplate) -> list[Answers]:
    """All evaluations of a run in order, one for each iteration at which there was one (the last one told)."""
    found: dict[int, tuple[str, ...]] = {}
    for log in sorted(work_dir.glob("*/*.log")):
        for at, answers in _evaluations(log.read_text(encoding="utf-8", errors="replace"), template):
            found[at] = answers
    return [Answers(iter=at, answers=answers) for at, answers in sorted(found.items())]


def _evaluations(log: str, template: PromptTemplate) -> list[tuple[int, tuple[str, ...]]]:
    entries: list[list[str]] = []
    for line in log.splitlines():
        if _LOG_LINE.match(line):
            entries.append([line])
        elif entries:
            entries[-1].append(line)
    found: list[tuple[int, list[str]]] = []
    for first, *more in entries:
        match = _EVALUATION.search(first)
        if match:
            found.append((int(match[1]), []))
        elif found and first.endswith("Sample output:"):
            found[-1][1].append(_answer("\n".join(more), template))
    return [(at, tuple(answers)) for at, answers in found if answers]


def _answer(sample: str, template: PromptTemplate) -> str:
    """The answer alone: what follows the template's last words before it, up to the first stop word."""
    before_answer = template.instruction.rpartition("{input}")[2]
    answer = sample.rpartition(before_answer)[2] if before_answer in sample else sample
    for word in (*template.stop_words, template.suffix, "</s>"):
        if word:
            answer = answer.partition(word)[0]
    return answer.strip()
