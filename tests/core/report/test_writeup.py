"""The report renders what is on disk, tells nobody whose machine it was, and loads nothing."""

import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from core.ground.errors import BadInput
from core.ground.files import read_json, write_json
from core.report import writeup
from core.training import run as runs

FILES = ["config.py", "loss.png", "report.html", "report.md"]


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


@pytest.mark.parametrize("language", ["zh", "en"])
def test_report_of_an_exported_run(workspace, exported_run, language):
    report = writeup.build(workspace, exported_run, language)
    assert report.files == FILES
    assert sorted(os.listdir(report.path)) == FILES
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
    for heading in {"zh": ["## 环境", "## 微调前后", "## 合并校验"], "en": ["## Environment", "## Before and after"]}[
        language
    ]:
        assert heading in text
    assert (report.path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (report.path / "config.py").read_bytes() == exported_run.config.read_bytes()


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


def test_report_of_a_failed_run(workspace, failed_run):
    report = writeup.build(workspace, failed_run, "zh")
    text = (report.path / "report.md").read_text(encoding="utf-8")
    assert "FAILED" in text
    assert "合并校验" not in text


def test_report_of_a_run_that_never_began(workspace, config, fake_engine):
    fake_engine("exit0_without_checkpoint", iters=0)
    run = runs.start(workspace, config.name)
    run.job.wait(30)
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
    scores = read_json(exported_run.path / "scores.json")
    for nickname in ODD:
        exported_run.facts["dataset"]["nickname"] = nickname
        scores["questions"][0].update(base=nickname, tuned=f"我是{nickname}的小助手")
        write_json(exported_run.path / "scores.json", scores)
        text = writeup.markdown(workspace, exported_run, "zh", False)
        page = Page(writeup.page(text, "x", {}, "zh"))
        assert page.loads == []
        assert f"XTuner 微调：{nickname}的小助手" in page.texts
        assert [nickname, f"我是{nickname}的小助手"] == page.texts[page.texts.index(nickname) :][:2]


def test_answer_of_several_lines_stays_in_its_cell(workspace, exported_run):
    scores = read_json(exported_run.path / "scores.json")
    scores["questions"][0]["tuned"] = "一\n\n| 二 |\r\n```\n三"
    write_json(exported_run.path / "scores.json", scores)
    text = writeup.markdown(workspace, exported_run, "zh", False)
    page = Page(writeup.page(text, "x", {}, "zh"))
    assert "一 | 二 | ``` 三" in page.texts


def test_every_table_has_as_many_cells_in_each_row(workspace, exported_run):
    text = writeup.markdown(workspace, exported_run, "zh", False)
    tables = re.findall(r"(?:^\|.*\n?)+", text, re.M)
    assert len(tables) >= 6
    for table in tables:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1, table


def test_model_that_says_nothing_of_its_architecture(workspace, exported_run):
    exported_run.facts["model"]["architecture"] = None
    writeup.build(workspace, exported_run, "zh")
    exported_run.facts["model"]["architecture"] = "![x](http://example.org/x.png)"
    report = writeup.build(workspace, exported_run, "zh")
    page = Page((report.path / "report.html").read_text(encoding="utf-8"))
    assert all(value.startswith("data:") for value in page.loads)


def test_home_that_is_the_root(workspace, exported_run, monkeypatch):
    """As in a container for a user without one."""
    monkeypatch.setenv("HOME", "/")
    text = writeup.markdown(workspace, exported_run, "zh", False)
    assert "12 / 12" in text


def test_report_elsewhere_and_again(workspace, exported_run, tmp_path):
    out = tmp_path / "deep" / "my report"
    assert writeup.build(workspace, exported_run, "zh", out).path == out
    (out / "report.md").write_text("old")
    assert writeup.build(workspace, exported_run, "zh", out).files == FILES
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
