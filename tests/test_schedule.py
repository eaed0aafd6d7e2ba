"""The order of the tests for several workers: each of its lines matches existing tests."""

import ast

from tests.schedule import ORDER, place, unit
from tests.test_architecture import PROJECT, files


def every_test() -> set[str]:
    """Return the tests of all files as written in the source, with the parameters that the order mentions."""
    return {
        f"{path.relative_to(PROJECT).as_posix()}::{function.name}{parameter}"
        for path in files(PROJECT / "tests")
        for function in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test_")
        for parameter in ("", "[zh]", "[en]")
    }


def test_every_line_of_the_order_stands_for_tests():
    assert {place(nodeid) for nodeid in every_test()} == set(range(len(ORDER) + 1))


def test_what_shares_something_dear_stays_with_one_worker():
    journey = "tests/e2e/test_journey.py::test_every_page_draws"
    assert unit(f"{journey}[zh-chat]") == unit(f"{journey}[zh-train]") != unit(f"{journey}[en-chat]")
    assert unit("tests/faults/test_disk.py::test_disk_full") != unit("tests/faults/test_disk.py::test_damaged_queue")
