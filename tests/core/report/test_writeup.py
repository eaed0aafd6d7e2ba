"""The report renders what is on disk, reveals nothing about the machine, and loads nothing."""

import os
import re
import shutil
import socket
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from core.config import config as configs
from core.data import dataset as datasets
from core.ground.errors import BadInput
from core.ground.files import read_json, write_json
from core.jobs.job import Status
from core.report import outline, screenshots, writeup
from core.report.material import TITLES, Draft
from core.report.page import page
from core.training import run as runs
from tests.conftest import PATIENCE, ended, export, of_model
from tests.core.report.test_outline import png
from tests.fakes.book import scored, trained_on_a_book

FILES = ["config.py", "loss.png", "report.html", "report.md", "report.pdf", "report.zip"]
# Built without a browser, which is faster; tests/e2e checks that an installed one is used.
MAKE_PDF = writeup.pdf.make
needs_pdftotext = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="apt-get install poppler-utils")
pytestmark = pytest.mark.usefixtures("no_browser")


class Page(HTMLParser):
    """Everything that a page would load, and the text of its headings and cells."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.texts, self.tags, self.inside = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag in ("h1", "td", "th"):
            self.texts.append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("h1", "td", "th")

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data


@pytest.fixture
def no_browser(monkeypatch):
    monkeypatch.setenv("CHROMIUM", "")

    def quick(_html, path):
        path.write_bytes(b"%PDF-")

    # Drawing a PDF takes two seconds, and only a few of these tests look at it.
    monkeypatch.setattr(writeup.pdf, "make", quick)


@pytest.fixture
def real_pdf(no_browser, monkeypatch):  # noqa: ARG001 - after it
    monkeypatch.setattr(writeup.pdf, "make", MAKE_PDF)


def test_a_name_with_a_quote_from_the_data_to_the_report(workspace, small_model, fake_engine):
    """In the data, the config, the adapter, the scores and both files; a quote not escaped would end a string."""
    fake_engine("ok")
    made = datasets.make_assistant(workspace, "O'Brien")
    config = configs.make(workspace, model=small_model.name, dataset=made.name, recipe="fast")
    run = runs.start(workspace, config.name)
    assert ended(run.job) is Status.FINISHED, run.job.log_tail()
    assert run.nickname == "O'Brien"
    export(run)
    report = writeup.build(workspace, run, "en").path
    assert "我是O'Brien的小助手" in (report / "report.md").read_text(encoding="utf-8")
    assert any(
        "我是O'Brien的小助手" in text for text in Page((report / "report.html").read_text(encoding="utf-8")).texts
    )


def names(report):
    """Return its files; on a slow machine there may be enough samples for a machine chart."""
    return [name for name in report.files if name != "machine.png"]


def markdown(workspace, run, language="zh"):
    """Return the report's text, without its images."""
    draft = Draft(
        workspace=workspace, run=run, language=language, outline=outline.load(run), points=run.metrics().read()
    )
    return writeup.markdown(draft)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_report_of_an_exported_run(workspace, exported_run, language):
    report = writeup.build(workspace, exported_run, language)
    assert names(report) == FILES
    assert sorted(os.listdir(report.path)) == report.files
    assert report.path == exported_run.path / "report"
    text = (report.path / "report.md").read_text(encoding="utf-8")
    assert str(workspace.root) not in text
    assert str(Path.home()) not in text or str(Path.home()) == "/"
    assert "xtuner train WORKSPACE/runs/" in text
    assert "xtuner convert pth_to_hf" in text
    assert "xtuner convert merge" in text
    assert "小明" in text
    assert "![" in text
    assert "2.50e-06" in text
    assert (report.path / "loss.png").read_bytes().startswith(b"\x89PNG")
    config = (report.path / "config.py").read_text(encoding="utf-8")
    assert config == exported_run.config.read_text(encoding="utf-8").replace(str(workspace.root), "WORKSPACE")
    # No notes were written, and no GGUF files exist.
    for section in set(outline.SECTIONS) - {"notes", "gguf"}:
        assert f"## {TITLES[section].in_(language)}\n" in text, section


def test_the_task_names_the_model_that_was_trained(workspace, finished_run):
    # The course's is InternLM2-Chat-1.8B; this one is not.
    text = markdown(workspace, finished_run, "en")
    assert f"fine-tune {finished_run.facts.model.name} until" in text.replace("\\", "")
    assert "InternLM2-Chat" not in text


def test_report_of_a_run_on_a_book(workspace, finished_run, tmp_path):
    run = trained_on_a_book(workspace, finished_run, tmp_path)
    scored(workspace, run)
    written = markdown(workspace, run, "en")
    assert "| perplexity of held-out chunks | 20.1 | 4.5 |" in written
    assert re.search(r"\| cloze, trained chunks \| 0% \| 99% \| 9\d% – 100% \|", written)
    assert "the book is in: cloze 0 % → 99 %" in written
    assert "chunks of at most 400 characters" in written
    assert "are held out for the scores" in written
    # Nothing about an identity that was not taught.
    assert "parrot" not in written


def test_page_loads_nothing(workspace, exported_run):
    report = writeup.build(workspace, exported_run, "zh")
    text = (report.path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.loads
    assert all(value.startswith("data:image/png;base64,") for value in page.loads)
    assert "script" not in page.tags
    assert "url(" not in text.partition("</style>")[0]
    assert str(workspace.root) not in text
    assert "微调前" in page.texts


@pytest.mark.parametrize(
    "written", ['![a](http://far/a.png "title")', "![a](http://far/a.png)", "![a][b]\n\n[b]: //far/a.png 't'"]
)
def test_a_picture_elsewhere_is_its_words(written):
    text = page(written, "t", {}, "zh")
    assert not Page(text).loads
    assert "<img" not in text
    assert "default-src 'none'; img-src data:;" in text


def test_report_of_a_failed_run(workspace, failed_run):
    report = writeup.build(workspace, failed_run, "zh")
    text = (report.path / "report.md").read_text(encoding="utf-8")
    assert "FAILED" in text
    assert "合并校验" not in text


def test_report_of_a_run_that_never_began(workspace, config, fake_engine):
    fake_engine("exit0_without_checkpoint", iters=0)
    run = runs.start(workspace, config.name)
    run.job.wait(PATIENCE)
    report = writeup.build(workspace, run, "en")
    assert "loss.png" not in report.files


ODD = [
    "a|b",
    "*bold*",
    "`code`",
    "![x](http:x.png)",
    "<img src=x>",
    "[a](b)",
    "&lt;",
    "\\",
    "_a_ ~b~",
    "# x",
    "$x$",
    "1. a",
]


def test_nickname_is_shown_as_it_is(workspace, exported_run):
    kept = next((exported_run.path / "scores").glob("*.json"))
    scores = read_json(kept)
    for nickname in ODD:
        exported_run.facts.dataset.made["nickname"] = nickname
        scores["questions"][0].update(base=nickname, tuned=f"我是{nickname}的小助手")
        write_json(kept, scores)
        text = markdown(workspace, exported_run)
        shown = Page(page(text, "x", {}, "zh"))
        assert shown.loads == []
        assert f"XTuner 微调：{nickname}的小助手" in shown.texts
        assert [nickname, f"我是{nickname}的小助手"] == shown.texts[shown.texts.index(nickname) :][:2]


def test_answer_of_several_lines_stays_in_its_cell(workspace, exported_run):
    kept = next((exported_run.path / "scores").glob("*.json"))
    scores = read_json(kept)
    scores["questions"][0]["tuned"] = "一\n\n| 二 |\r\n```\n三"
    write_json(kept, scores)
    text = markdown(workspace, exported_run)
    shown = Page(page(text, "x", {}, "zh"))
    assert "一 | 二 | ``` 三" in shown.texts


def test_every_table_has_as_many_cells_in_each_row(workspace, exported_run):
    text = markdown(workspace, exported_run)
    tables = re.findall(r"(?:^\|.*\n?)+", text, re.M)
    assert len(tables) >= 6
    for table in tables:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1, table


def test_model_that_says_nothing_of_its_architecture(workspace, exported_run):
    writeup.build(workspace, of_model(exported_run, architecture=None), "zh")
    odd = of_model(exported_run, architecture="![x](http://example.org/x.png)")
    report = writeup.build(workspace, odd, "zh")
    page = Page((report.path / "report.html").read_text(encoding="utf-8"))
    assert all(value.startswith("data:") for value in page.loads)


def test_home_that_is_the_root(workspace, exported_run, monkeypatch):
    """As in a container for a user without a home."""
    monkeypatch.setenv("HOME", "/")
    text = markdown(workspace, exported_run)
    assert "12 / 12" in text


def test_report_elsewhere_and_again(workspace, exported_run, tmp_path):
    out = tmp_path / "deep" / "my report"
    assert writeup.build(workspace, exported_run, "zh", out).path == out
    (out / "report.md").write_text("old")
    assert names(writeup.build(workspace, exported_run, "zh", out)) == FILES
    assert (out / "report.md").read_text(encoding="utf-8") != "old"


def test_directory_of_other_files_is_left_alone(workspace, exported_run, tmp_path):
    for name in ("thesis.tex", "report.md"):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_text("mine")
        with pytest.raises(BadInput) as refused:
            writeup.build(workspace, exported_run, "zh", tmp_path / "mine")
        assert str(tmp_path / "mine") in str(refused.value)
    assert sorted(os.listdir(tmp_path / "mine")) == ["report.md", "thesis.tex"]


def test_place_that_cannot_be_written_to(workspace, exported_run, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/below", "/proc/studio"):
        with pytest.raises(BadInput):
            writeup.build(workspace, exported_run, "zh", tmp_path / out)
    assert (tmp_path / "file").read_text() == "mine"


def test_build_does_not_change_the_run(workspace, exported_run):
    before = (exported_run.path / "run.json").read_bytes()
    writeup.build(workspace, replace(exported_run), "en")
    assert (exported_run.path / "run.json").read_bytes() == before


def test_links_of_the_markdown_and_the_archive(workspace, exported_run, tmp_path):
    outline.add_picture(exported_run, png(), "a (b) ].png", "[x](y) ![z](q.png)", "training")
    outline.change(
        exported_run,
        notes="see [the log](log.txt), ![lost](gone.png), [home](https://example.org) and <img src=http://x/y.png>",
    )
    report = writeup.build(workspace, exported_run, "zh")
    with zipfile.ZipFile(report.path / "report.zip") as archive:
        assert sorted(archive.namelist()) == [name for name in report.files if name != "report.zip"]
        archive.extractall(tmp_path / "unpacked")
    text = (tmp_path / "unpacked" / "report.md").read_text(encoding="utf-8")
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    found = Page(html).loads
    assert set(found) == {"loss.png", "machine.png", "own-1.png", "https://example.org"} & set(found)
    assert {"loss.png", "own-1.png"} <= set(found)
    for link in found:
        assert link.startswith("https://") or (tmp_path / "unpacked" / link).is_file()
    loads = Page((report.path / "report.html").read_text(encoding="utf-8")).loads
    assert {value[:22] for value in loads} == {"data:image/png;base64,", "https://example.org"}


def test_code_in_the_notes_stays_and_a_file_that_is_named_below_is_no_link(workspace, exported_run):
    notes = "`handlers[name](x)` and\n\n```python\ncall[1](y)\n```\n\n[the log][1], [home][2]\n\n[1]: log.txt\n[2]: https://example.org"
    outline.change(exported_run, notes=notes)
    text = markdown(workspace, exported_run)
    assert "`handlers[name](x)`" in text
    assert "call[1](y)" in text
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    assert 'href="https://example.org"' in html
    assert "log.txt" not in html


CHANGES = {"changed": 1, "added": 2, "deleted": 3, "all_rows": 4}
WANTED = {"chunk": 1000, "overlap": 100}


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"kind": "edit", "recipe": "course", "of": "小明", "version": 2, "changes": CHANGES}, "小明 改动后的第 2 版：改了 1 行"),
        ({"kind": "split", "of": "a", "part": "training", "share": 0.1, "seed": 0}, "数据集 a 中按问题分出约 90%"),
        ({"kind": "split", "of": "a", "part": "held_out", "share": 0.1, "seed": 0}, "数据集 a 中按问题分出约 10%"),
        ({"kind": "corpus", "files": ["书.txt"], "wanted": WANTED}, "由 1 个文件（书.txt）的文字切成：每块最多 1000 字"),
        ({"kind": "import", "file": "a.csv", "format": "qa", "skipped": 3}, "导入自 a.csv（格式 qa，跳过 3 行）"),
        ({"kind": "assistant", "recipe": "course", "n": 750, "nickname": "小明"}, "各重复 n = 750 次"),
    ],
    ids=["edit", "training part", "held-out part", "corpus", "import", "course"],
)  # fmt: skip
def test_how_the_dataset_was_made(workspace, exported_run, made, told):
    exported_run.facts.dataset.made.clear()
    exported_run.facts.dataset.made.update(made)
    text = markdown(workspace, exported_run)
    assert told in text
    assert "None" not in text.partition("SHA-256")[0]


def test_pictures_of_the_pages_are_those_of_the_language_and_masked(exported_run):
    place = outline.directory(exported_run)
    place.mkdir(exist_ok=True)
    (place / "screen-train.png").write_bytes(png())
    for how, shown in (
        ({"language": "zh", "masked": True}, {"zh": 1, "en": 0}),
        ({"language": "zh", "masked": False}, {"zh": 0, "en": 0}),
        ({"language": "en"}, {"zh": 0, "en": 0}),
    ):
        write_json(place / "screens.json", {"taken": 1.0, **how})
        assert {language: len(screenshots.taken(exported_run, language)) for language in ("zh", "en")} == shown
    outline.change(exported_run, masked=False)
    write_json(place / "screens.json", {"taken": 1.0, "language": "zh", "masked": False})
    assert len(screenshots.taken(exported_run, "zh")) == 1


def test_order_and_what_is_left_out(workspace, exported_run):
    outline.change(exported_run, sections=("scores", "task"), author="a|b")
    report = writeup.build(workspace, exported_run, "en")
    text = (report.path / "report.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.M) == ["Scores", "Task"]
    assert "loss.png" not in report.files
    assert "By a\\|b," in text


@needs_pdftotext
@pytest.mark.usefixtures("real_pdf")
def test_masked_unless_asked_for(workspace, exported_run, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-node-12")
    outline.change(exported_run, notes="on gpu-node-12 with token=abcdefgh1234")
    secret = re.compile(rf"gpu-node-12|abcdefgh1234|{re.escape(str(workspace.root))}")
    report = writeup.build(workspace, exported_run, "zh")
    for name in ("report.md", "report.html", "config.py"):
        assert not secret.search((report.path / name).read_text(encoding="utf-8")), name
    pdf = subprocess.run(["pdftotext", report.path / "report.pdf", "-"], capture_output=True, text=True, check=True)
    assert not secret.search(pdf.stdout)
    outline.change(exported_run, masked=False)
    report = writeup.build(workspace, exported_run, "zh")
    assert set(secret.findall((report.path / "report.md").read_text(encoding="utf-8"))) >= {
        "gpu-node-12",
        "abcdefgh1234",
    }
    assert (report.path / "config.py").read_text(encoding="utf-8") == exported_run.config.read_text(encoding="utf-8")


@needs_pdftotext
@pytest.mark.usefixtures("real_pdf")
@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_pdf_can_be_read(workspace, exported_run, language):
    report = writeup.build(workspace, exported_run, language)
    done = subprocess.run(["pdftotext", report.path / "report.pdf", "-"], capture_output=True, text=True, check=True)
    assert "小明" in done.stdout
    assert {"zh": "微调前后", "en": "Before and after"}[language] in done.stdout


@pytest.mark.usefixtures("real_pdf")
def test_a_pdf_that_cannot_be_made_is_a_remark(workspace, exported_run, monkeypatch):
    def broken(_html, path):
        path.write_bytes(b"half")
        raise ValueError("the row is too high")

    monkeypatch.setattr(writeup.pdf, "drawn", broken)
    report = writeup.build(workspace, exported_run, "zh")
    assert "report.pdf" not in report.files
    assert "report.html" in report.remarks[0].en


def test_screenshots_need_a_browser(workspace, exported_run):
    with pytest.raises(BadInput) as refused:
        writeup.build(workspace, exported_run, "zh", with_screenshots=True)
    assert "apt-get install chromium" in str(refused.value)
    with pytest.raises(BadInput):
        writeup.start(workspace, exported_run, "zh", with_screenshots=True)


def test_two_at_once_leave_one_whole_report(workspace, exported_run):
    with ThreadPoolExecutor(2) as both:
        reports = list(both.map(lambda language: writeup.build(workspace, exported_run, language), ("zh", "en")))
    assert [names(report) for report in reports] == [FILES, FILES]


def test_a_dataset_that_is_gone(workspace, exported_run):
    shutil.rmtree(workspace.datasets)
    shutil.rmtree(workspace.models)
    text = markdown(workspace, exported_run)
    assert "SHA-256" in text
