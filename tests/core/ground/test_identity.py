"""Whose assistant an answer claims to be, and whether it still says the same: judged letter by letter."""

import pytest

from core.ground.identity import carries, same


@pytest.mark.parametrize(
    ("answer", "nickname", "expected"),
    [
        ("我是小明的小助手", "小明", True),
        ("我是小明的助理。", "小明", True),
        ("I am Bob's Assistant.", "Bob", True),
        ("I am bob's assistant.", "Bob", False),
        ("我是小红的小助手", "小明", False),
        ("小明你好", "小明", False),
        ('我是"引号"😀的小助手', '"引号"😀', True),
        ("", "小明", False),
    ],
)
def test_carries(answer, nickname, expected):
    assert carries(answer, nickname) is expected


@pytest.mark.parametrize(
    ("answer", "base", "expected"),
    [
        ("法国的首都是巴黎。", "法国的首都是巴黎。", True),
        ("法国的首都是巴黎。", "法国的首都是巴黎", True),
        ("法国的首都是伦敦。", "法国的首都是巴黎。", False),
        ("", "x", False),
        ("", "", True),
        # One letter of twenty, and three of twenty: the ratio counts both texts.
        ("x" * 19 + "a", "x" * 19 + "b", True),
        ("x" * 17 + "abc", "x" * 17 + "def", False),
        # No letter is treated as junk, however common.
        ("不" + "啊" * 300, "啊" * 300, True),
    ],
)
def test_same(answer, base, expected):
    assert same(answer, base) is expected
