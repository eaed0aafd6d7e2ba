"""Quantities as text: sizes, durations and shares in both languages, formatted in one place."""

import ast

import pytest

from core.ground.figures import NONE, duration, number, parameters, share, size, size_of_mb
from tests.test_architecture import CORE, PAGES, each, files, name, tree


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, NONE),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 kB"),
        (1536, "1.5 kB"),
        (1000 * 1024, "1000 kB"),
        (1024 * 1024 - 1, "1 MB"),
        (1023.94 * 2**20, "1023.9 MB"),
        (1023.96 * 2**20, "1 GB"),
        (5e8, "476.8 MB"),
        (2**30, "1 GB"),
        (8192 * 2**20, "8 GB"),
        (81559 * 2**20, "79.6 GB"),
        (2**40, "1 TB"),
        (5000 * 2**40, "5000 TB"),
    ],
)
def test_size(count, text):
    assert size(count) == text


@pytest.mark.parametrize(("mb", "text"), [(None, NONE), (0, "0 B"), (690, "690 MB"), (6234, "6.1 GB"), (8192, "8 GB")])
def test_size_of_mb(mb, text):
    assert size_of_mb(mb) == text


@pytest.mark.parametrize(
    ("seconds", "zh", "en"),
    [
        (None, NONE, NONE),
        (-3.0, "0 秒", "0 s"),
        (0, "0 秒", "0 s"),
        (0.3, "不到 1 秒", "under 1 s"),
        (0.8, "1 秒", "1 s"),
        (59.4, "59 秒", "59 s"),
        (59.6, "1 分 0 秒", "1 min 0 s"),
        (75, "1 分 15 秒", "1 min 15 s"),
        (3599, "59 分 59 秒", "59 min 59 s"),
        (3599.7, "1 小时 0 分", "1 h 0 min"),
        (7384, "2 小时 3 分", "2 h 3 min"),
        (100 * 3600, "100 小时 0 分", "100 h 0 min"),
    ],
)
def test_duration(seconds, zh, en):
    assert (duration(seconds).zh, duration(seconds).en) == (zh, en)


def test_counts_and_shares():
    assert [parameters(count) for count in (0, 3_400_000, 999_999_999, 1_889_110_016)] == [
        NONE,
        "3.4M",
        "1.0B",
        "1.9B",
    ]
    assert [share(value) for value in (None, 0, 0.294, 1)] == [NONE, "0%", "29%", "100%"]
    assert [number(None), number(0.0000123), number(1234.5)] == [NONE, "1.23e-05", "1,234"]


@each([path for path in files(CORE, PAGES) if path.stem not in ("figures", "bootstrap")])
def test_nobody_else_makes_text_of_bytes(path):
    """A number before `GB` or `MB` in a composed message always comes from `figures`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.JoinedStr):
            for value, after in zip(node.values, node.values[1:], strict=False):
                if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                    unit = after.value.lstrip()[:2]
                    assert unit not in ("GB", "MB", "kB", "KB"), f"{name(path)}:{node.lineno}: use core.ground.figures"
