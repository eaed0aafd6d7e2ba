"""The order in which tests start if several workers share them (`pytest -n`), and which of them stay on one worker.

Long tests start first, so that no worker is left alone with one at the end, and what all others wait for starts before
them.
"""

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER, APART = True, False
# Tests that match no line come last and go to whichever worker is free.
ORDER = [
    # Starts the demo that most end-to-end tests share. Until it has ended, the others do what does not need it.
    (r"e2e/test_journey\.py::.*\[zh", TOGETHER),
    (r"e2e/test_models\.py", TOGETHER),
    # One Slurm for all, and mostly waiting.
    (r"e2e/test_slurm\.py::(?!test_a_training)", TOGETHER),
    (r"e2e/test_(screens|uploads|monitor|access|proxies)\.py", APART),
    (r"faults/", APART),
    (r"core/data/test_round_trip\.py", APART),
    # They read the entire source and cache it.
    (r"tests/test_(architecture|rooms)\.py", TOGETHER),
    # Loading torch takes seconds and half a gigabyte.
    (r"core/engine/workers/test_(entry|optimization)\.py", TOGETHER),
    (r"core/(engine/workers|models|publish)/", APART),
    # From here on they need the demo, the longest first.
    (r"e2e/test_journey\.py::.*\[en", TOGETHER),
    (r"e2e/test_demo\.py", TOGETHER),
    (r"e2e/test_(preflight\.py::test_a_|distributed|slurm|early_stop)", APART),
    (r"e2e/test_export\.py", TOGETHER),
    (r"e2e/test_chat\.py", TOGETHER),
    (r"e2e/", APART),
]


def place(nodeid: str) -> int:
    """Return the index of the line in `ORDER` that matches a test; after all lines if none does."""
    return next((number for number, (pattern, _) in enumerate(ORDER) if re.search(pattern, nodeid)), len(ORDER))


def unit(nodeid: str) -> str:
    """Return what goes to one worker as a unit: the test itself, or all tests of its line."""
    number = place(nodeid)
    return f"line {number}" if number < len(ORDER) and ORDER[number][1] is TOGETHER else nodeid


class Schedule(LoadScopeScheduling):
    """Distributes units in the order in which the tests were collected."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
