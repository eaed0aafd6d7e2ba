"""Problems of readable rows, found before training shows them."""

import pytest

from core.data.assistant import balanced_rows, course_rows
from core.data.checks import check
from core.data.row import single


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


@pytest.mark.parametrize(
    ("rows", "kind", "row"),
    [
        ([single("a", "b\u200bc")], "control", 1),
        ([single("x", "y"), single("a", "b\x07")], "control", 2),
        ([single("a", "我是{{ NAME }}")], "placeholder", 1),
        ([single("a", "我是<AUTHOR>做的")], "placeholder", 1),
        ([single("a", "我是 Qwen 系列模型")], "other", 1),
        ([single("a", "p\u0430ypal")], "mixed", 1),
        ([single("a", "b" * 9000)], "long", 1),
        ([{"conversation": [{"input": "a", "output": "b"}, {"input": "", "output": "c"}]}], "empty", 1),
        ([*[single(f"q{n}", "a") for n in range(20)], single("", "a")], "empty", 21),
        (
            [
                single("请用三百字左右介绍一下杭州西湖的历史、风景和传说，谢谢你", "西湖"),
                single("其他", "其他"),
                single("请用三百字左右介绍一下杭州西湖的历史、风景和传说，谢谢你！！", "西湖在杭州"),
            ],
            "near",
            3,
        ),
    ],
)
def test_kind(rows, kind, row):
    (found,) = check(rows)
    assert (found.kind, found.row, found.where) == (kind, row, f"row {row}")


def test_words_that_only_look_suspect_are_none():
    for text in (
        "Sonnet and claudette",
        "if (a < b) { return [1] }",
        "Αθήνα",
        "привет",
        "{0} {x}",
        "ＡＢＣ",
        "a [NOTE] b",
    ):
        assert check([single("a", text)]) == []


def test_a_kind_that_is_everywhere_is_counted():
    found = check([single(f"{number}", "{{name}}") for number in range(100)])
    assert len(found) == 21
    assert "80" in found[-1].message.en
