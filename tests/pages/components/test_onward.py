"""A finished run's pages ask for the report until it is there, then only lead to it."""

import os

from core.report import writeup
from tests.pages.screen import open_page, primary

PAGES = ("train", "export", "chat")


def test_a_report_that_is_there_is_not_asked_for(workspace, exported_run):
    assert {page: primary(open_page(page)) for page in PAGES} == dict.fromkeys(PAGES, ["下一步：生成作业报告"])
    assert writeup.start(workspace, exported_run, "zh").wait(600).name == "FINISHED"
    assert {page: primary(open_page(page)) for page in PAGES} == dict.fromkeys(PAGES, ["前往“报告”"])
    # Scored again since: the report does not have it yet.
    later = (exported_run.path / "report" / "report.md").stat().st_mtime + 5
    os.utime(exported_run.path / "scores.json", (later, later))
    assert primary(open_page("train")) == ["下一步：生成作业报告"]
