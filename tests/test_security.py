"""The page on security: every test it names exists, so that it promises nothing without one."""

import re

from core.ground.workspace import PROJECT

PAGE = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_attempt_has_tests_that_are_there():
    rows = [line for line in PAGE.partition("| attack | test |")[2].splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 17
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, test in named:
            assert f"def {test}(" in (PROJECT / file).read_text(encoding="utf-8"), f"{file}::{test}"


def test_both_languages_say_as_much():
    chinese, _, english = PAGE.partition("## English")
    assert chinese.count("\n- **") == english.count("\n- **") > 8
