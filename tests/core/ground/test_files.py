"""Files exist completely or not at all, even while somebody keeps writing them."""

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from core.ground.files import (
    new_directory,
    read_json,
    read_lines_from,
    read_tail,
    sha256,
    size_of,
    write_json,
    write_text,
)
from tests.conftest import PATIENCE


def hammer(path: Path, enough: Path) -> None:
    """Keep writing new values of very different lengths, until `enough` exists."""
    number = 0
    while not enough.exists():
        number += 1
        write_json(path, {"number": number, "filler": "浦" * (number % 50) * 1000})


def test_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"number": 0, "filler": ""})
    enough, seen, began = tmp_path / "enough", set(), time.monotonic()
    writer = multiprocessing.get_context("spawn").Process(target=hammer, args=(path, enough), daemon=True)
    writer.start()
    while len(seen) <= 60:
        assert time.monotonic() - began < PATIENCE
        value = json.loads(path.read_text(encoding="utf-8"))
        assert len(value["filler"]) % 1000 == 0
        seen.add(value["number"])
    enough.touch()
    writer.join()
    assert sorted(os.listdir(tmp_path)) == ["enough", "value.json"]


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "text"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["text"]


def test_write_text_keeps_every_character(tmp_path):
    text = "一\r\n二\n三\r😀"
    write_text(tmp_path / "deep" / "text", text)
    assert (tmp_path / "deep" / "text").read_bytes() == text.encode()


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b'{"a": 1'])
def test_read_json_of_what_is_no_json(tmp_path, content):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    assert read_json(path) is None


def test_lines_grow_and_a_half_line_waits(tmp_path):
    path = tmp_path / "log"
    assert read_lines_from(path, 0) == ([], 0)
    path.write_bytes("一\n二".encode())
    lines, offset = read_lines_from(path, 0)
    assert lines == ["一"]
    assert read_lines_from(path, offset) == ([], offset)
    with path.open("ab") as file:
        file.write("、三\n四\n".encode())
    lines, offset = read_lines_from(path, offset)
    assert lines == ["二、三", "四"]
    assert offset == path.stat().st_size


def test_lines_of_a_half_character(tmp_path):
    """A writer may be in the middle of a multi-byte character."""
    path = tmp_path / "log"
    path.write_bytes("一\n二".encode()[:-1])
    lines, offset = read_lines_from(path, 0)
    path.write_bytes("一\n二\n".encode())
    assert (lines, read_lines_from(path, offset)[0]) == (["一"], ["二"])


def test_lines_of_a_file_that_was_made_anew(tmp_path):
    path = tmp_path / "log"
    path.write_text("a\nb\nc\n")
    _, offset = read_lines_from(path, 0)
    path.write_text("d\n")
    assert read_lines_from(path, offset) == (["d"], 2)


def test_tail_begins_at_a_whole_line(tmp_path):
    path = tmp_path / "log"
    assert read_tail(path) == ""
    path.write_text("".join(f"line {number}\n" for number in range(1000)))
    tail = read_tail(path, 100)
    assert tail.startswith("line 9")
    assert tail.endswith("line 999\n")
    assert len(tail) <= 100
    assert read_tail(path, 10**6).startswith("line 0\n")


def test_sha256_and_size(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_bytes(b"12345")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert size_of(tmp_path / "a") == 3
    assert size_of(tmp_path) == 8


def test_new_directory_appears_when_it_is_filled(tmp_path):
    with new_directory(tmp_path / "made") as partial:
        (partial / "file").write_text("x")
        assert not (tmp_path / "made").exists()
    assert (tmp_path / "made" / "file").read_text() == "x"
    assert os.listdir(tmp_path) == ["made"]


def test_new_directory_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), new_directory(tmp_path / "made") as partial:
        (partial / "file").write_text("x")
        _ = 1 / 0
    assert os.listdir(tmp_path) == []


def test_new_directory_refuses_a_taken_name(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("old")
    with pytest.raises(FileExistsError), new_directory(tmp_path / "taken"):
        pytest.fail("the block must not run")
    assert (tmp_path / "taken" / "file").read_text() == "old"


def test_new_directory_whose_name_is_taken_meanwhile(tmp_path):
    with pytest.raises(FileExistsError), new_directory(tmp_path / "made") as partial:
        (partial / "file").write_text("late")
        with new_directory(tmp_path / "made") as other:
            (other / "file").write_text("early")
    assert (tmp_path / "made" / "file").read_text() == "early"
    assert os.listdir(tmp_path) == ["made"]
