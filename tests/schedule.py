"""In which order tests begin where several workers share them (`pytest -n`), and which of them one worker keeps.

What takes long begins first, so that no worker is left alone with it at the end; what all wait for before that.
"""

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER, APART = True, False
# A test that no line fits comes after all that do, and goes to whichever worker is free.
ORDER = [
    # It begins the demo that most end-to-end tests share; who waits for none of it works meanwhile.
    (r"e2e/test_journey\.py::.*\[zh", TOGETHER),
    (r"e2e/test_models\.py", TOGETHER),
    (r"e2e/test_demo\.py", TOGETHER),
    (r"e2e/test_(uploads|monitor)\.py", APART),
    (r"faults/", APART),
    (r"e2e/test_(preflight\.py::test_a_|distributed)", APART),
    (r"e2e/test_journey\.py::.*\[en", TOGETHER),
    (r"e2e/test_export\.py", TOGETHER),
    (r"e2e/test_chat\.py", TOGETHER),
    (r"e2e/", APART),
    (r"core/data/test_round_trip\.py", APART),
    # They read the whole source, and keep what they have read.
    (r"tests/test_(architecture|rooms)\.py", TOGETHER),
    # Loading torch takes seconds and half a gigabyte.
    (r"core/engine/workers/test_(entry|optimization)\.py", TOGETHER),
]


def place(nodeid: str) -> int:
    """Which line of `ORDER` fits a test; behind all lines if none does."""
    return next((number for number, (pattern, _) in enumerate(ORDER) if re.search(pattern, nodeid)), len(ORDER))


def unit(nodeid: str) -> str:
    """What is handed to one worker as a whole: the test itself, or all those of its line."""
    number = place(nodeid)
    return f"line {number}" if number < len(ORDER) and ORDER[number][1] is TOGETHER else nodeid


class Schedule(LoadScopeScheduling):
    """Hands units out one after the other, in the order in which the tests were collected."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
