"""The mutants' tables: the files and tests that are named are there, and the page shows what the last runs found."""

import re

import pytest

from tests.mutants import page
from tests.mutants.chosen import CHOSEN, PROJECT, files_of_tests


@pytest.mark.parametrize("file", CHOSEN)
def test_what_is_named_is_there(file):
    assert (PROJECT / file).is_file()
    assert files_of_tests(file)
    for test in files_of_tests(file):
        assert "def test_" in (PROJECT / test).read_text(encoding="utf-8"), test


@pytest.mark.parametrize("file", CHOSEN)
def test_each_file_has_its_row(file):
    row = re.search(rf"^\| `{re.escape(file)}` \|(.+)\|$", page.PAGE.read_text(encoding="utf-8"), re.M)
    assert row, "make mutants"
    assert "not run" not in row[1], "make mutants"


def test_the_page_is_drawn_from_the_results():
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "python -m tests.mutants.page"


def test_a_reason_is_of_a_survivor_that_there_is():
    """One of a mutant that died meanwhile, or of a line that was changed, is to go."""
    survivors = {
        (file, one["line"], one["becomes"]) for file, found in page.results().items() for one in found["survived"]
    }
    for known in page.reasons():
        assert known["why"].strip()
        for becomes in known["becomes"]:
            assert (known["file"], known["line"], becomes) in survivors


def test_what_the_table_says(monkeypatch):
    found = {
        "mutants": 8,
        "killed": 5,
        "timed_out": 1,
        "seconds": 9,
        "survived": [{"line": "a | b", "becomes": "a"}] * 2,
    }
    monkeypatch.setattr(page, "results", lambda: {"core/report/mask.py": found})
    monkeypatch.setattr(page, "reasons", list)
    drawn = page.page()
    assert "| `core/report/mask.py` | 8 | 5 | 1 | 2 | 75.0 % | 9 |" in drawn
    assert "| all | 8 | 5 | 1 | 2 | 75.0 % | 9 |" in drawn
    assert "| `core/chat/score.py` | not run |" in drawn
    assert "| `a \\| b` | `a` | **no reason given** |" in drawn
    given = [{"file": "core/report/mask.py", "line": "a | b", "becomes": ["a"], "why": "nobody reads b"}]
    monkeypatch.setattr(page, "reasons", lambda: given)
    assert page.page().count("nobody reads b") == 2
