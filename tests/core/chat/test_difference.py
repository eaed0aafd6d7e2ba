"""Differences between two answers are marked, without losing or adding text."""

import pytest

from core.chat.difference import pieces


@pytest.mark.parametrize(
    ("answer", "other", "expected"),
    [
        ("", "x", []),
        ("同样", "同样", [("同样", False)]),
        ("我是小明的助手", "我是书生的助手", [("我是", False), ("小明", True), ("的助手", False)]),
        ("I am Bob's assistant", "I am Tom's assistant", [("I am ", False), ("Bob", True), ("'s assistant", False)]),
        ("全不一样", "nothing alike", [("全不一样", True)]),
    ],
)
def test_pieces(answer, other, expected):
    assert pieces(answer, other) == expected


def test_nothing_is_lost():
    answer, other = "第一行\n第二行 😀 <b>", "第一行\n别的"
    assert "".join(text for text, _ in pieces(answer, other)) == answer
