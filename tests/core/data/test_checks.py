"""What is wrong with rows that can be read, before a training shows it."""

import pytest

from core.data.assistant import balanced_rows, course_rows
from core.data.checks import check
from core.data.messages import single


def test_balanced_dataset_is_clean():
    assert check(balanced_rows("小明")) == []


def test_course_dataset_is_told_to_repeat():
    (found,) = check(course_rows("小明", 3750))
    assert (found.severity, found.where) == ("warning", "rows")
    assert "7502" in found.message.en
    assert "2" in found.message.en
    assert "balanced" in found.hint.en


@pytest.mark.parametrize(
    ("rows", "where", "severity"),
    [
        ([single("a", "我是{name}的助手")], "row 1", "error"),
        ([single("x", "y"), single("a", "我是{{author}}")], "row 2", "error"),
        ([single("a", "我是ChatGPT")], "row 1", "warning"),
        ([single("a", "b"), single("a", "c")], "row 2", "warning"),
    ],
)
def test_finding(rows, where, severity):
    (found,) = check(rows)
    assert (found.where, found.severity) == (where, severity)
    assert found.message.zh
    assert found.hint.en


def test_errors_come_first():
    found = check([single("a", "ChatGPT"), single("b", "{name}")])
    assert [problem.severity for problem in found] == ["error", "warning"]


def test_same_question_in_texts_and_longer_conversations_is_no_finding():
    texts = [single("", "a"), single("", "b")]
    longer = [{"conversation": [{"input": "你好", "output": x}, {"input": "y", "output": "z"}]} for x in "ab"]
    assert check(texts + longer) == []
