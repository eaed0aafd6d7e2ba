"""The report page: the writeup, its files, the package."""

import pytest

from tests.pages.screen import open_page, texts


@pytest.mark.usefixtures("workspace")
def test_an_empty_workspace_says_what_to_do():
    assert "还没有训练" in texts(open_page("report"))


def test_a_report_is_built_shown_and_handed_out(exported_run):
    page = open_page("report")
    assert any("还没有报告" in info.value for info in page.info)
    page.button(key="build_report").click().run()
    assert (exported_run.path / "report" / "report.html").is_file()
    assert "# XTuner 微调：小明的小助手" in texts(page)
    assert page.get("image") or page.get("image_list")
    assert [button.proto.label for button in page.get("download_button")] == ["report.md", "report.html", "全部（zip）"]


def test_a_package_is_made_once(exported_run):
    page = open_page("report")
    page.button(key="package").click().run()
    assert (exported_run.path / "package-openxlab" / "README.md").is_file()
    assert "requirements.txt" in texts(page)
    page.button(key="package").click().run()
    assert any("已存在" in error.value for error in page.error)


@pytest.mark.usefixtures("finished_run")
def test_a_run_that_is_not_merged_cannot_be_published():
    page = open_page("report")
    assert any("需要合并后的模型" in info.value for info in page.info)
