"""Each screenshot is about this run and shows what its caption says; what does not exist is not captured."""

import shutil

import pytest

from core.chat import before_after
from core.config import config as configs
from core.data.assistant import COURSE_QUESTIONS
from core.report.screenshots import PAGES, lacking
from core.report.subjects import subjects


def answered(question):
    return {"base": {"answer": f"书生·浦语：{question}"}, "tuned": {"answer": f"我是小明的小助手。{question}"}}


@pytest.fixture
def asked(workspace, exported_run):
    """The exported run, with both of the course's questions asked."""
    before_after.keep(workspace, exported_run, {question: answered(question) for question in COURSE_QUESTIONS})
    return exported_run


def test_every_page_of_a_whole_run(workspace, asked):
    found, remarks = subjects(workspace, asked, "zh")
    assert [subject.page for subject in found] == list(PAGES)
    assert remarks == []
    by_page = {subject.page: subject for subject in found}
    assert by_page["dataset"].query == {"dataset": asked.facts.dataset.name}
    assert "小明" in by_page["dataset"].shows
    assert by_page["config"].query == {"config": asked.facts.config.name}
    assert "我是小明的小助手" in by_page["train"].shows
    assert "合并后的模型与“基座 + 适配器”的回答完全一致" in by_page["export"].shows
    chat = by_page["chat"]
    assert chat.query == {"run": asked.id, "conversation": before_after.kept(workspace, asked).id}
    for question in COURSE_QUESTIONS:
        assert {question, *(line["answer"] for line in answered(question).values())} <= set(chat.shows)


def test_what_is_gone_or_was_never_done_is_said(workspace, finished_run, monkeypatch):
    before_after.keep(workspace, finished_run, {question: answered(question) for question in COURSE_QUESTIONS})
    found, remarks = subjects(workspace, finished_run, "zh")
    assert [subject.page for subject in found] == ["setup", "dataset", "config", "train", "chat"]
    assert [remark.zh for remark in remarks] == ["没有导出页的截图：模型还没有导出"]
    configs.change(workspace, finished_run.facts.config.name, {"lr": 0.05})
    shutil.rmtree(workspace.datasets / finished_run.facts.dataset.name)
    monkeypatch.setattr(before_after, "kept", lambda *_: None)
    shutil.rmtree(finished_run.work_dir)
    found, remarks = subjects(workspace, finished_run, "en")
    assert [subject.page for subject in found] == ["setup", "train"]
    assert [remark.en.partition(":")[0] for remark in remarks] == [
        f"no screenshot of the {page.title()} page" for page in ("dataset", "config", "export", "chat")
    ]


def test_words_are_found_however_lines_are_broken():
    page = "请介绍一下\n你自己\n我是小明的\n 小助手"
    assert lacking(page, ["请介绍一下你自己", "我是小明的小助手"]) is None
    assert lacking(page, ["请介绍一下你自己", "书生·浦语", "上海"]) == "书生·浦语"
    assert lacking(page, []) is None
