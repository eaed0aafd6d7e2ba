"""Malicious or mislabeled files are refused with a reason, quickly, and leave nothing behind."""

import io
import os
import time
import tracemalloc
import zipfile

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest

from core.data import dataset as datasets
from core.data.files.json_records import MOST_CHARACTERS
from core.ground.errors import BadInput

# Of the CPU.
SECONDS = 10.0


@pytest.fixture
def refuse(workspace, tmp_path):
    """Import a file that must be refused, quickly and without leaving anything behind; return the message."""

    def refuse(name: str) -> str:
        began = time.process_time()
        with pytest.raises(BadInput) as refused:
            datasets.import_file(workspace, tmp_path / name)
        assert time.process_time() - began < SECONDS
        assert os.listdir(workspace.root) == []
        message = str(refused.value)
        assert len(message) < 500
        assert "\n" not in message
        return message

    return refuse


def bomb(path, member="xl/worksheets/sheet1.xml", size=300 << 20):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open(member, "w", force_zip64=True) as file:
            for _ in range(size >> 20):
                file.write(b" " * (1 << 20))


def test_zip_bomb(refuse, tmp_path):
    bomb(tmp_path / "x.xlsx")
    assert "300 MB" in refuse("x.xlsx")


def test_line_of_a_gigabyte(refuse, tmp_path):
    for name in ("x.jsonl", "x.json", "x.csv", "x.txt"):
        with (tmp_path / name).open("wb") as file:
            file.write(b'{"text": "' if "json" in name else b"question,answer\n")
            for _ in range(64):
                file.write(b"a" * (1 << 20))
        tracemalloc.start()
        refuse(name)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 14 * MOST_CHARACTERS
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, '[{"conversation": ' + "[" * 50_000], ids=lambda t: t[:9]
)
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_deep_nesting(refuse, tmp_path, text, suffix):
    (tmp_path / f"x.{suffix}").write_text(text)
    refuse(f"x.{suffix}")


@pytest.mark.parametrize("turns", ['{"human": "a", "assistant": "b"}', "12", "true", "[12]", '[["a"]]'])
def test_a_conversation_that_is_none(refuse, tmp_path, turns):
    for key in ("conversation", "messages", "conversations"):
        (tmp_path / "x.jsonl").write_text(f'{{"{key}": {turns}}}\n', encoding="utf-8")
        refuse("x.jsonl")


@pytest.mark.parametrize("first", ["", '{"question": "q", "answer": "a"}\n'])
def test_a_long_line_of_chinese_cut_within_a_character(refuse, tmp_path, first):
    for shift in ("", "x", "xx"):
        with (tmp_path / "x.jsonl").open("w", encoding="utf-8") as file:
            file.write(first + shift + "中" * (MOST_CHARACTERS // 2) + "\n")
        assert "16 MB" in refuse("x.jsonl")


def test_a_number_of_thousands_of_digits(refuse, workspace, tmp_path):
    number = "9" * 5000
    for name in ("x.json", "x.jsonl"):
        (tmp_path / name).write_text(f'[{{"question": {number}}}]' if name == "x.json" else f'{{"a": {number}}}\n')
        refuse(name)
    text = f'[\n {{"question": "q", "answer": "a"}},\n {{"question": {number}, "answer": "b"}},\n {{"question": "r", "answer": "c"}}\n]'
    (tmp_path / "x.json").write_text(text)
    made, report = datasets.import_file(workspace, tmp_path / "x.json")
    assert made.rows == 2
    assert [left["row"] for left in report.skipped] == [2]


def test_deep_nesting_of_one_row(workspace, tmp_path):
    deep = "[" * 20_000 + "]" * 20_000
    (tmp_path / "x.jsonl").write_text('{"question": "a", "answer": "b"}\n' + f'{{"question": {deep}}}\n')
    made, report = datasets.import_file(workspace, tmp_path / "x.jsonl")
    assert (made.rows, [skipped["row"] for skipped in report.skipped]) == (1, [2])


@pytest.mark.parametrize(
    "cell", ["=cmd|' /C calc'!A0", '=HYPERLINK("http://x","y")', "@SUM(1+9)*cmd", "=A1+B1", "+cmd|'x'!A1"]
)
def test_formulas(refuse, workspace, tmp_path, cell):
    quoted = '"' + cell.replace('"', '""') + '"'
    (tmp_path / "x.csv").write_text(f"question,answer\na,{quoted}\n")
    assert "公式" in refuse("x.csv")
    (tmp_path / "y.csv").write_text(f"question,answer\n2 - 1 = ?,= 1\n-5 度冷吗,-5 (很冷)\na,{quoted}\n")
    made, report = datasets.import_file(workspace, tmp_path / "y.csv")
    assert (made.rows, [skipped["row"] for skipped in report.skipped]) == (2, [3])


CONTENTS = {
    "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "pdf": b"%PDF-1.7\n" + bytes(100),
    "gz": b"\x1f\x8b\x08" + bytes(100),
    "xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    "elf": b"\x7fELF" + bytes(100),
    "zip": b"PK\x03\x04" + bytes(100),
    "parquet": b"PAR1" + bytes(100),
    "noise": bytes(range(128, 256)) * 40,
    "zeros": bytes(5000),
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "xlsx", "parquet"])
def test_wrong_extension(refuse, tmp_path, content, suffix):
    (tmp_path / f"x.{suffix}").write_bytes(CONTENTS[content])
    assert f"x.{suffix}" in refuse(f"x.{suffix}")


def test_text_under_another_name(refuse, tmp_path):
    (tmp_path / "x.csv").write_text('[{"question": "a", "answer": "b"}]')
    assert ".json" in refuse("x.csv")
    (tmp_path / "x.txt").write_text('{"question": "a", "answer": "b"}\n')
    assert ".json" in refuse("x.txt")
    for name in ("x.json", "x.csv", "x.txt"):
        (tmp_path / name).write_text("\n<!DOCTYPE html>\n<html><body>404, not found</body></html>")
        assert "HTML" in refuse(name)
    (tmp_path / "x.json").write_text("question,answer\na,b\n")
    refuse("x.json")
    (tmp_path / "x.xlsx").write_text("question,answer\na,b\n")
    refuse("x.xlsx")
    for name in ("x.exe", "x.pkl", "x.json.gz", "x"):
        (tmp_path / name).write_text("question,answer\na,b\n")
        refuse(name)


def test_sheet_that_lies_about_its_size(workspace, tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["question", "answer"])
    book.active.append(["a", "b"])
    book.active.cell(1_048_576, 1, "far")
    book.save(tmp_path / "x.xlsx")
    began = time.process_time()
    made, report = datasets.import_file(workspace, tmp_path / "x.xlsx")
    assert (made.rows, report.skipped_count) == (1, 1)
    assert time.process_time() - began < SECONDS


def test_damaged_tables(refuse, tmp_path):
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"question": ["a"] * 100, "answer": ["b"] * 100}), out)
    (tmp_path / "x.parquet").write_bytes(out.getvalue()[:100] + bytes(50) + out.getvalue()[150:])
    refuse("x.parquet")
    with zipfile.ZipFile(tmp_path / "x.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", '<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>')
    refuse("x.xlsx")


def rewritten(path, name, change):
    """Change one member of the archive."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, change(content) if member == name else content)


def damaged(path, name):
    """Reverse the middle of one member's packed bytes in the archive."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(name)
        start = member.header_offset + 30 + len(name)
    content = bytearray(path.read_bytes())
    middle = start + member.compress_size // 3
    content[middle : middle + 40] = bytes(255 - value for value in content[middle : middle + 40])
    path.write_bytes(content)


def test_a_sheet_that_is_damaged_within(refuse, tmp_path):
    book = openpyxl.Workbook()
    for number in range(2000):
        book.active.append([f"问 {number}", f"答 {number * number}"])
    book.save(tmp_path / "x.xlsx")
    damaged(tmp_path / "x.xlsx", "xl/worksheets/sheet1.xml")
    refuse("x.xlsx")
    book.save(tmp_path / "y.xlsx")
    rewritten(
        tmp_path / "y.xlsx", "xl/worksheets/sheet1.xml", lambda text: text.replace(b"<v>1</v>", b"<v>99999999</v>")
    )
    refuse("y.xlsx")


def test_what_is_no_file_of_data(workspace):
    for path in ("/dev/zero", "/proc/self/mem", "/"):
        with pytest.raises(BadInput):
            datasets.import_file(workspace, __import__("pathlib").Path(path))
