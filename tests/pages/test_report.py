"""The report page: the report, its files, the package."""

import pytest

from core.ground.errors import BadInput
from core.ground.workspace import Workspace
from core.jobs.job import Status, latest_job, wait_until
from core.publish import upload
from core.report import browser, outline, writeup
from tests.conftest import PATIENCE
from tests.core.report.test_outline import png
from tests.pages.screen import open_page, tab, texts


@pytest.mark.usefixtures("workspace")
def test_an_empty_workspace_says_what_to_do():
    assert "还没有训练" in texts(open_page("report"))


def primary(page):
    """Return the labels of the primary buttons, including download buttons."""
    return [
        element.proto.label
        for kind in ("button", "download_button")
        for element in page.get(kind)
        if element.proto.type == "primary"
    ]


def wait_for_report(run):
    assert wait_until(lambda: (job := latest_job(run.jobs, "report")) and not job.status().live, PATIENCE)
    job = latest_job(run.jobs, "report")
    assert job.status() is Status.FINISHED, job.log_tail()


def test_a_report_is_built_shown_and_handed_out(exported_run):
    page = open_page("report")
    assert "还没有报告" in texts(page)
    assert "心得还是空的" in texts(page)
    assert primary(page) == ["生成报告（含截图，约 1 分钟）" if browser.find() else "生成报告"]
    page.button(key="build_report").click().run()
    wait_for_report(exported_run)
    page = open_page("report")
    assert "# XTuner 微调：小明的小助手" in texts(page)
    assert page.get("image") or page.get("image_list") or page.get("imgs")
    labels = [button.proto.label for button in page.get("download_button")]
    assert labels == ["全部（zip）", "report.md", "report.html", "report.pdf"]
    assert primary(page) == ["全部（zip）"], "what is done turns grey"
    page.text_area(key=f"notes-{exported_run.id}").set_value("学到了很多").run()
    assert "内容有变化" in texts(page)
    assert "心得还是空的" not in texts(page)
    assert len(primary(page)) == 1
    assert primary(page)[0].startswith("生成报告")


def test_a_report_that_is_being_built_is_not_begun_twice(exported_run, monkeypatch):
    monkeypatch.setattr(writeup, "module_command", lambda *_: ["sleep", "600"])
    page = open_page("report")
    page.button(key="build_report").click().run()
    assert page.button(key="build_report").disabled
    with pytest.raises(BadInput):
        writeup.start(Workspace.open(), exported_run, "zh")
    assert latest_job(exported_run.jobs, "report").stop(discard=True) is Status.KILLED


def test_what_goes_in_is_kept_at_once(exported_run):
    page = open_page("report")
    page.text_area(key=f"notes-{exported_run.id}").set_value("学到了很多").run()
    tab(page, "report_tab", "内容")
    page.text_input(key=f"author-{exported_run.id}").set_value("小红").run()
    page.button(key=f"section-{exported_run.id}-model--1").click().run()
    page.button(key=f"section-{exported_run.id}-files-0").click().run()
    chosen = outline.load(exported_run)
    assert (chosen.notes, chosen.author) == ("学到了很多", "小红")
    assert chosen.sections[:3] == ("task", "model", "environment")
    assert chosen.left_out == ("files",)
    again = open_page("report")
    assert again.text_area(key=f"notes-{exported_run.id}").value == "学到了很多"
    tab(again, "report_tab", "内容")
    again.button(key=f"section-{exported_run.id}-files-2").click().run()
    assert outline.load(exported_run).sections[-1] == "files"


def test_a_picture_of_ones_own(exported_run):
    picture = outline.add_picture(exported_run, png(), "My shot.png", section="training").pictures[0]
    page = tab(open_page("report"), "report_tab", "内容")
    page.text_input(key=f"caption-{exported_run.id}-{picture.file}").set_value("我的截图").run()
    assert outline.load(exported_run).pictures[0].caption == "我的截图"
    page.button(key=f"remove-{exported_run.id}-{picture.file}").click().run()
    assert outline.load(exported_run).pictures == ()


def test_without_a_browser_the_button_says_what_to_install(exported_run, monkeypatch):  # noqa: ARG001
    monkeypatch.setenv("CHROMIUM", "")
    page = open_page("report")
    button = page.button(key="build_report_pictured")
    assert button.disabled
    assert primary(page) == ["生成报告"]
    assert "apt-get install chromium" in button.proto.help


def test_a_package_is_made_and_deleted(exported_run):
    page = tab(open_page("report"), "report_tab", "发布")
    page.button(key="package").click().run()
    assert (exported_run.path / "package-openxlab" / "README.md").is_file()
    assert "requirements.txt" in texts(page)
    assert page.button(key="package").disabled
    page.text_input(key="publish_repository").set_value("me/model").run()
    assert "git clone https://code.openxlab.org.cn/me/model.git" in texts(page)
    page.button(key="discard_package").click().run()
    assert not (exported_run.path / "package-openxlab").exists()
    assert exported_run.merged.is_dir()


def test_an_upload_says_first_what_it_would_do_and_forgets_the_token(exported_run):
    page = tab(open_page("report"), "report_tab", "发布")
    page.selectbox(key="publish_target").set_value("huggingface").run()
    page.button(key="package").click().run()
    page.text_input(key="publish_repository").set_value("not a repository").run()
    assert any("组织" in error.value for error in page.error)
    page.text_input(key="publish_repository").set_value("me/model").run()
    assert any("将上传" in caption.value and "me" in caption.value for caption in page.caption)
    page.button(key="send_package").click().run()
    assert any("HF\\_TOKEN" in error.value for error in page.error)
    assert page.text_input(key="publish_repository").value == "me/model"
    assert upload.latest(exported_run) is None


@pytest.mark.usefixtures("finished_run")
def test_a_run_that_is_not_exported_cannot_be_published():
    page = tab(open_page("report"), "report_tab", "发布")
    assert any("先转换出适配器" in info.value for info in page.info)
