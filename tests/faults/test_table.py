"""docs/reliability.md lists every fault test, and no other."""

import ast
import re
from pathlib import Path

from tests.faults.table import AFTER, BEFORE, PAGE


def functions() -> set[str]:
    """Return the names of the fault tests, read from their source."""
    return {
        node.name
        for path in Path(__file__).parent.glob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if "fault" in {argument.arg for argument in node.args.args}
    }


def test_every_fault_is_in_the_table():
    listed = {
        name.partition("[")[0]
        for name in re.findall(r"`(test_[^`]+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(listed) >= 14
    assert listed == functions()


def test_the_page_is_the_one_that_is_written():
    text = PAGE.read_text(encoding="utf-8")
    assert text.startswith(BEFORE)
    assert text.endswith(AFTER)


def test_every_row_was_measured():
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.endswith("` |")]
    for what, status, seconds, _, left, kept, resumed, name in rows:
        assert status != "–", name
        assert float(seconds) <= 5, name
        assert left.startswith("0"), name
        assert "–" not in (what, kept, resumed), name
