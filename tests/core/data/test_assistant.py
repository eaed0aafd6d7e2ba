"""The course's dataset byte for byte, the balanced one by its rules, and every nickname that a person may have."""

import hashlib
import json
import os

import pytest

from core.data import dataset as datasets
from core.data.assistant import balanced_rows, check_nickname, course_rows, dialogues
from core.ground.errors import BadInput

NICKNAMES = ["小明", "Zoë O'Neil", '"引号"', "😀🚀", "张·伟 (2)", "{name}", "%s & <b>", "a" * 30, "𠀀龘"]


def course_script(nickname: str, n: int) -> bytes:
    """What the course's script writes: a list of the two, then both appended n times."""
    data = [
        {
            "conversation": [
                {
                    "input": "请介绍一下你自己",
                    "output": f"我是{nickname}的小助手，内在是上海AI实验室书生·浦语的1.8B大模型哦",
                }
            ]
        },
        {
            "conversation": [
                {"input": "你在实战营做什么", "output": f"我在这里帮助{nickname}完成XTuner微调个人小助手的任务"}
            ]
        },
    ]
    for _ in range(n):
        data.append(data[0])
        data.append(data[1])
    return json.dumps(data, ensure_ascii=False, indent=4).encode()


@pytest.mark.parametrize("nickname", NICKNAMES)
def test_course_file_is_the_course_scripts(workspace, nickname):
    made = datasets.make_assistant(workspace, nickname, "course", n=20)
    assert made.data.read_bytes() == course_script(nickname, 20)
    assert (made.rows, made.unique_rows, made.nickname) == (42, 2, nickname)


def test_course_file_of_the_course_itself(workspace):
    made = datasets.make_assistant(workspace, "小明", "course")
    content = made.data.read_bytes()
    assert content == course_script("小明", 3750)
    assert made.sha256 == hashlib.sha256(content).hexdigest()
    assert made.rows == 7502


@pytest.mark.parametrize("n", [-1, 1_000_001])
def test_repetition_out_of_bounds(workspace, n):
    with pytest.raises(BadInput):
        datasets.make_assistant(workspace, "小明", "course", n=n)
    assert os.listdir(workspace.root) == []


def test_repetition_of_nothing():
    assert len(course_rows("小明", 0)) == 2


@pytest.mark.parametrize(
    ("nickname", "kept"),
    [
        ("小明", "小明"),
        ("  小明 \t", "小明"),
        ("\u3000小明\u3000", "小明"),
        ("小明\n", "小明"),
        ("名" * 30, "名" * 30),
        # A family is four people and three joiners; a flag is two letters; a tone belongs to its hand.
        ("👨\u200d👩\u200d👧\u200d👦" * 7, "👨\u200d👩\u200d👧\u200d👦" * 7),
        ("👍🏽" * 30, "👍🏽" * 30),
        ("🇨🇳" * 15, "🇨🇳" * 15),
        ("e\u0301", "é"),
        ('O\'Brien "Bob"', 'O\'Brien "Bob"'),
        ("^_^", "^_^"),
        ("<b>", "<b>"),
        ("..", ".."),
        ("-", "-"),
    ],
    ids=ascii,
)
def test_nickname_that_will_do(nickname, kept):
    assert check_nickname(nickname) == kept


@pytest.mark.parametrize(
    "nickname",
    [
        "",
        " ",
        "\n\t",
        "\u3000",
        # Nothing that could be seen.
        "\u200b",
        "\u200d\u200d",
        "名" * 31,
        "^" * 31,
        "x" * 10_000,
        "👍🏽" * 31,
        "x" + "\u0301" * 1000,
        "../etc/passwd",
        "a/b",
        "C:\\x",
        "a\nb",
        "a\u2028b",
        "a\0b",
        "a\x1b[31m",
        "\ud800",
        "<|im_end|>",
        "小明<|im_start|>user",
        "|>",
        "<s>",
        "</s>",
        "<unk>",
    ],
    ids=lambda nickname: ascii(nickname[:20]),
)
def test_nickname_that_will_not_do(workspace, nickname):
    with pytest.raises(BadInput) as refused:
        datasets.make_assistant(workspace, nickname)
    assert len(str(refused.value)) < 120
    assert "\n" not in str(refused.value)
    assert os.listdir(workspace.root) == []


def test_balanced_rows_hold_nothing_that_the_score_asks():
    rows = balanced_rows("小明")
    asked = {row["conversation"][0]["input"] for row in rows}
    held_out = {q["question"] for q in dialogues("identity")["questions"] + dialogues("general") if q["held_out"]}
    assert held_out
    assert not asked & held_out
    assert {"请介绍一下你自己", "你在实战营做什么"} <= asked


@pytest.mark.parametrize("nickname", NICKNAMES)
def test_balanced_rows_answer_with_the_nickname(nickname):
    identity = {q["question"] for q in dialogues("identity")["questions"]}
    rows = {row["conversation"][0]["input"]: row["conversation"][0]["output"] for row in balanced_rows(nickname)}
    for question, answer in rows.items():
        assert (nickname in answer) or question not in identity
    assert sum(question in identity for question in rows) >= 10
    assert sum(question not in identity for question in rows) >= 10


def test_unknown_recipe(workspace):
    with pytest.raises(BadInput) as refused:
        datasets.make_assistant(workspace, "小明", "best")
    assert "balanced" in str(refused.value)
    assert os.listdir(workspace.root) == []
