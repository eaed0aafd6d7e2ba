"""Documents become clean overlapping pieces; unreadable ones are reported, malicious ones refused."""

import io
import os
import random
import re
import zipfile

import pytest
from fpdf import FPDF

from core.data import corpus, storage, versions
from core.data.corpus import Told, Wanted, chunks
from core.data.files.documents import documents
from core.ground.errors import BadInput

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def docx(path, *paragraphs, head=""):
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "word/document.xml", f'{head}<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'
        )
    return path


def pdf(path, pages=6):
    file = FPDF()
    file.set_font("helvetica", size=12)
    for number in range(pages):
        file.add_page()
        words = " ".join(f"Sentence {chr(97 + number)}{chr(97 + place)} is about tuning." for place in range(20))
        file.multi_cell(0, 8, f"The Handbook of Tuning\n{words}\n{number + 1}")
    file.output(str(path))
    return path


def text_of(path):
    (document,) = documents(path)
    assert document.reason is None, document.reason
    return "\n".join(document.pages)


def test_every_kind(tmp_path):
    (tmp_path / "a.txt").write_bytes("第一段。\r\n第二段。".encode("gb18030"))
    assert text_of(tmp_path / "a.txt") == "第一段。\n第二段。"
    (tmp_path / "a.md").write_text("---\ntitle: x\n---\n# 标题\n", encoding="utf-8")
    assert text_of(tmp_path / "a.md") == "# 标题\n"
    page = "<title>T</title><nav>菜单</nav><h1>题</h1><p>甲&amp;<b>乙</b></p><script>x()</script><footer>脚</footer>"
    (tmp_path / "a.html").write_text(page + "<div>" * 50_000, encoding="utf-8")
    assert text_of(tmp_path / "a.html").split() == ["题", "甲&乙"]
    assert text_of(docx(tmp_path / "a.docx", "甲", "乙 &amp; 丙")) == "甲\n乙 & 丙"
    assert "Sentence ab is about tuning." in text_of(pdf(tmp_path / "a.pdf"))


def test_running_heads_and_page_numbers_go(tmp_path):
    told = Told()
    rows = list(corpus.pieces([pdf(tmp_path / "a.pdf")], Wanted(chunk=400, overlap=0), told))
    text = "\n".join(row["conversation"][0]["output"] for row in rows)
    assert "Handbook" not in text
    assert text.count("is about tuning.") == 120
    assert told.boilerplate_lines == 12


def test_pieces_overlap_and_end_with_sentences():
    text = "".join(f"这是第{number}句话。" for number in range(100))
    found = chunks(text, 60, 20)
    assert all(len(piece) <= 60 and piece.endswith("。") for piece in found)
    for one, other in zip(found, found[1:], strict=False):
        begin = other[: other.index("。") + 1]
        assert begin in one
    assert "".join(dict.fromkeys("".join(found).split("。"))) == "".join(dict.fromkeys(text.split("。")))
    assert chunks("字" * 1000, 100, 0) == ["字" * 100] * 10
    assert chunks(" \n \n", 100, 10) == []


def test_pieces_of_english_end_with_sentences_and_overlap():
    text = "".join(f"Dr. J. Smith trained model {number} at 3.5 volts, e.g. by hand. " for number in range(40)).strip()
    found = chunks(text, 200, 80)
    assert len(found) > 10
    assert all(len(piece) <= 200 and piece.endswith("by hand.") and piece.startswith("Dr. J. ") for piece in found)
    for one, other in zip(found, found[1:], strict=False):
        assert one.endswith(other[: other.index("hand.") + 5])


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        # Sentences longer than the overlap: the piece begins at a word or a clause; without either, with the last
        # characters.
        (" ".join(f"word{number} and more words to make it quite long indeed." for number in range(60)), r"\S+"),
        (
            "".join(f"第{number}句很长，里面有好几个分句，一个接着一个，直到最后才停。" for number in range(60)),
            "(第|里面|一个|直到)",
        ),
        ("".join(chr(0x4E00 + number) for number in range(3000)), ""),
        (" ".join(f"token{number}" for number in range(600)), "token"),
    ],
)
def test_every_piece_begins_with_the_end_of_the_one_before(text, starts):
    found = chunks(text, 120, 20)
    words = set(text.split())
    assert all(len(piece) <= 120 for piece in found)
    for one, other in zip(found, found[1:], strict=False):
        shared = next(size for size in range(20, 0, -1) if one.endswith(other[:size].rstrip()))
        assert shared >= 4
        assert re.match(starts, other)
        if " " in text:
            assert {*one.split(), *other.split()} <= words
    # Nothing is lost: each piece continues where the previous one ended.
    whole, place = re.sub(r"\s", "", text), 0
    for piece in found:
        bare = re.sub(r"\s", "", piece)
        at = whole.find(bare, max(0, place - 20))
        assert 0 <= at <= place
        place = at + len(bare)
    assert place == len(whole)


def test_a_long_preamble_makes_no_duplicates(workspace, tmp_path):
    words = random.Random(0)

    def sentences(count):
        return "".join("".join(chr(words.randrange(0x4E00, 0x9FA0)) for _ in range(19)) + "。" for _ in range(count))

    preamble = sentences(150)
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(preamble + sentences(150), encoding="utf-8")
    (tmp_path / "c.txt").write_text((tmp_path / "a.txt").read_text(encoding="utf-8") + "完。", encoding="utf-8")
    files = [tmp_path / f"{name}.txt" for name in "abc"]
    made, told, _ = corpus.make(workspace, files, Wanted(chunk=20_000, overlap=0))
    assert (made.rows, told.duplicates) == (2, 1)
    assert not [found for found in storage.check(made) if found.kind == "near"]


def test_corpus(workspace, tmp_path):
    sentence = "增量预训练让模型读懂一本书，每一段都不一样：第{}段讲的是第{}件事。"
    (tmp_path / "a.txt").write_text("".join(sentence.format(n, n * 7) for n in range(60)), encoding="utf-8")
    (tmp_path / "b.txt").write_text("".join(sentence.format(n, n * 7) for n in range(60)), encoding="utf-8")
    made, told, _ = corpus.make(workspace, [tmp_path / "a.txt", tmp_path / "b.txt"], Wanted(chunk=300, overlap=40))
    assert (told.documents, told.pieces, told.duplicates) == (2, made.rows, made.rows)
    turns = [row["conversation"][0] for row in made.load()]
    assert all(set(turn) == {"input", "output", "need_eos_token"} and turn["input"] == "" for turn in turns)
    assert [turn["need_eos_token"] for turn in turns] == [False] * (len(turns) - 1) + [True]
    assert versions.remake(workspace, made)[1]


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_with_a_damaged_member_gives_the_others(workspace, tmp_path, packed):
    good = "".join(f"第{number}句话说的是另一件事情。" for number in range(400))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", packed) as archive:
        archive.writestr("bad.txt", "".join(f"{number * number} 坏。" for number in range(3000)))
        archive.writestr("good.txt", good)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[2000:2060] = bytes(255 - value for value in content[2000:2060])
    (tmp_path / "a.zip").write_bytes(content)
    made, told, _ = corpus.make(workspace, [tmp_path / "a.zip"])
    assert made.rows > 0
    assert told.documents == 1
    assert [left["name"] for left in told.skipped] == ["bad.txt"]


def test_a_kept_file_of_a_long_name(workspace, tmp_path):
    file = tmp_path / ("书" * 80 + "名.txt")
    file = file.with_name("x" * (255 - len(file.name.encode())) + file.name)
    file.write_text("这是一本书里的一段话，足够长，可以用来训练。", encoding="utf-8")
    made, _, _ = corpus.make(workspace, [file], keep=True)
    (kept,) = (made.path / "source").iterdir()
    assert kept.name.endswith(".txt")
    assert corpus.sources_of(made) == [kept]


def test_progress_within_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(10):
            archive.writestr(f"{number}.txt", "".join(chr(0x4E00 + 60 * number + place) for place in range(60)))
    (tmp_path / "b.txt").write_text("这是另外一个文件里的一段话，也足够长，可以用来训练。", encoding="utf-8")
    told = []
    list(corpus.pieces([tmp_path / "a.zip", tmp_path / "b.txt"], Wanted(), Told(), lambda done, _: told.append(done)))
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    assert len({share for share in told if share < 0.5}) >= 18


def test_zip(workspace, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("书/一.txt", "这是一本书里的一段话，足够长，可以用来训练。")
        archive.writestr("x.exe", "MZ")
        archive.writestr("broken.pdf", "%PDF-1.4 nothing")
        archive.writestr("__MACOSX/._a.txt", "junk")
    made, told, _ = corpus.make(workspace, [tmp_path / "a.zip"])
    assert (made.rows, told.documents) == (1, 1)
    assert {left["name"] for left in told.skipped} == {"x.exe", "broken.pdf"}


@pytest.mark.parametrize(
    "name", ["../../evil.txt", "/etc/evil.txt", "C:\\evil.txt", "a/../../evil.txt", "..\\evil.txt"]
)
def test_archive_that_reaches_out(workspace, tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.txt", "好的文字好的文字好的文字好的文字。")
        archive.writestr(name, "x" * 100)
    with pytest.raises(BadInput):
        corpus.make(workspace, [tmp_path / "a.zip"])
    assert os.listdir(workspace.root) == []


def test_archive_that_is_a_bomb(workspace, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "x" * (100 << 20))
    with pytest.raises(BadInput) as refused:
        corpus.make(workspace, [tmp_path / "a.zip"])
    assert "100 MB" in str(refused.value)
    assert os.listdir(workspace.root) == []


def test_archive_of_a_bomb(tmp_path):
    """A Word file that is small in its archive, and only unpacks to much when it is read; the others are read."""
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", "x" * (100 << 20))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("bomb.docx", inside.getvalue())
        archive.writestr("good.txt", "好的文字。")
    bomb, good = documents(tmp_path / "a.zip")
    assert "100 MB" in bomb.reason.en
    assert good.pages == ("好的文字。",)


def test_a_pdf_whose_pages_take_long_is_given_up(tmp_path, monkeypatch):
    """The time of each page is bounded, and there may be thousands: 150 kB can take days."""
    monkeypatch.setattr("core.data.files.documents.MOST_SECONDS", 0.0)
    (document,) = documents(pdf(tmp_path / "a.pdf"))
    assert document.pages == ()
    assert "up to page 1: split it" in document.reason.en


def test_documents_that_cannot_be_read(workspace, tmp_path):
    entity = '<!DOCTYPE x [<!ENTITY a "aaaa">]>'
    bad = {
        "a.docx": lambda path: docx(path, "&a;", head=entity),
        "b.docx": lambda path: path.write_bytes(b"PK\x03\x04 broken"),
        "a.pdf": lambda path: path.write_bytes(b"%PDF-1.7\n" + bytes(1000)),
        "a.txt": lambda path: path.write_bytes(bytes(range(256)) * 10),
        "b.txt": lambda path: path.write_text("  \n "),
        "a.exe": lambda path: path.write_text("MZ"),
        "a.zip": lambda path: path.write_text("no zip"),
    }
    for name, write in bad.items():
        write(tmp_path / name)
        with pytest.raises(BadInput) as refused:
            corpus.make(workspace, [tmp_path / name])
        assert name in str(refused.value)
    with pytest.raises(BadInput):
        Wanted(chunk=100, overlap=60)
    assert os.listdir(workspace.root) == []
