"""The log of a job for people, whatever its size."""

import os

import pytest

from core.jobs import log as logs
from core.jobs.log import copy, first_error, last_lines, search


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.txt"


def test_no_log(log):
    assert last_lines(log) == []
    assert first_error(log) is None
    assert search(log, "x").lines == ()
    assert search(log, "x").whole
    assert copy(log) == b""


def test_bars_are_one_line(log):
    bar = "Map:  {}%|████      | 1/9 [00:00<00:01]"
    drawn = "\r".join(["", *(bar.format(n) for n in (0, 50, 100))])
    printed = "\n".join(bar.format(n) for n in (10, 20))
    log.write_text(f"first\n{drawn}\nthen\n{printed}\nOther: 3%|█ | 1\n\x1b[Aup\x1b[0m\nlast\n\n\n", encoding="utf-8")
    assert last_lines(log) == ["first", bar.format(100), "then", bar.format(20), "Other: 3%|█ | 1", "up", "last"]
    assert last_lines(log, 2) == ["up", "last"]


def test_a_bar_that_is_being_drawn(log):
    log.write_text("x\n" + "".join(f"\rTrain: {n}%|## |" for n in range(100)))
    assert last_lines(log) == ["x", "Train: 99%|## |"]
    log.write_text("".join(f"\rTrain: {n % 100}%|{'#' * 80}|" for n in range(100_000)))
    assert last_lines(log) == [f"Train: 99%|{'#' * 80}|"]


TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1\n    x\nFileNotFoundError: no such {}\n'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("all\nis\nwell\n", None),
        (TRACEBACK.format("a") + TRACEBACK.format("b"), "FileNotFoundError: no such a"),
        ("[rank1]: Traceback (most recent call last):\n[rank1]:   File\n[rank1]: ValueError: x\n", "[rank1]: ValueError: x"),
        ("2026/11/24 06:40:09 - mmengine - ERROR - broken\n" + TRACEBACK.format("a"), "2026/11/24 06:40:09 - mmengine - ERROR - broken"),
        ("x\nRuntimeError: CUDA error: device-side assert\n", "RuntimeError: CUDA error: device-side assert"),
        ("UserWarning: the installed version of bitsandbytes was compiled without GPU support. Error: x\n", None),
        ("loss: 0.3  eta: 1\nKilled\n", "Killed"),
    ],
)  # fmt: skip
def test_first_error(log, text, error):
    log.write_text(text)
    assert first_error(log) == error


def test_first_error_of_a_long_log_is_that_of_its_end(log):
    log.write_text("some line\n" * 500_000 + TRACEBACK.format("z") + "y\n" * 1000)
    assert first_error(log) == "FileNotFoundError: no such z"


def test_search_from_the_end(log):
    log.write_text(
        "".join(f"line {n}: {'损失 NaN' if n % 10 == 0 else 'well'}\n" for n in range(100)), encoding="utf-8"
    )
    found = search(log, "损失 nan")
    assert found.lines == tuple(f"line {n}: 损失 NaN" for n in range(90, -1, -10))
    assert found.whole
    assert search(log, "not there").lines == ()
    assert search(log, "").lines == ()


@pytest.mark.parametrize("piece", [37, 100, 4 << 20])
def test_search_goes_on_where_it_stopped(log, monkeypatch, piece):
    monkeypatch.setattr(logs, "_PIECE", piece)
    monkeypatch.setattr(logs, "SEARCH_BYTES", 800)
    log.write_text("".join(f"line {n}: word word\n" for n in range(100)))
    lines, before = [], None
    for _ in range(100):
        found = search(log, "WORD", before=before, most=7)
        lines += found.lines
        if found.whole:
            break
        assert before is None or found.before < before
        before = found.before
    # If a read ends in the middle of a line, the part is returned with both.
    assert [line for line in lines if line.startswith("line ")] == [f"line {n}: word word" for n in range(99, -1, -1)]


def test_search_shows_what_is_around_in_a_long_line(log):
    log.write_text("a" * 100_000 + "needle" + "b" * 100_000)
    (line,) = search(log, "needle").lines
    assert "needle" in line
    assert len(line) <= 600


def test_a_log_of_500_mb_is_not_read(log, monkeypatch):
    with log.open("wb") as file:
        file.write(b"begin\n")
        file.truncate(500 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + TRACEBACK.format("z").encode() + b"end\n")
    read, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda *arguments: read.append(arguments[1]) or pread(*arguments))
    assert last_lines(log)[-1] == "end"
    assert first_error(log) == "FileNotFoundError: no such z"
    assert search(log, "END").lines == ("end",)
    assert sum(read) < 1.1 * logs.SEARCH_BYTES
    taken = copy(log, most=100_000)
    assert taken.startswith(b"begin\n")
    assert taken.endswith(b"end\n")
    assert len(taken) < 101_000
