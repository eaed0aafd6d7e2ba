"""The train page: start, watch, stop, go on, and why one failed."""

import pytest

from core.jobs.job import Status, wait_until
from core.training import run as runs
from tests.pages.screen import cells, open_page, texts


@pytest.mark.usefixtures("workspace")
def test_an_empty_workspace_says_what_to_do():
    assert "还没有训练配置" in texts(open_page("train"))


@pytest.mark.usefixtures("config")
def test_a_config_without_a_run_says_what_to_do():
    assert any("还没有训练" in info.value for info in open_page("train").info)


def test_a_training_is_started_and_chosen(workspace, config, fake_engine):
    fake_engine("slow")
    page = open_page("train")
    page.button(key="start_training").click().run()
    run = runs.running(workspace)
    assert page.selectbox(key="run").value == run.id
    assert any("训练" in link.proto.label for link in page.get("page_link"))
    # A double click.
    page.button(key="start_training").click().run()
    assert len(runs.every(workspace)) == 1
    assert config.name in run.id


def test_a_running_training_is_watched_and_stopped(running_run):
    page = open_page("train")
    assert "进行中" in texts(page)
    assert page.get("plotly_chart")
    assert "/ 600" in page.metric[0].value
    next(button for button in page.button if button.label == "停止并保存").click().run()
    assert running_run.job.wait(30) is Status.KILLED
    page = open_page("train")
    assert any("按要求停止" in warning.value for warning in page.warning)
    assert page.button(key=f"resume-{running_run.id}").label == "从最后的检查点继续"


def test_a_training_is_stopped_at_once(running_run):
    page = open_page("train")
    next(button for button in page.button if button.label.startswith("立即停止")).click().run()
    assert running_run.job.wait(30) is Status.KILLED
    assert wait_until(lambda: "已停止" in texts(open_page("train")), 10)


def test_a_finished_training_shows_its_answers(finished_run):
    page = open_page("train")
    shown = texts(page)
    assert "已完成" in shown
    assert finished_run.facts["command"] in shown
    assert page.metric[0].value == "12 / 12"
    table = cells(page)
    assert "书生·浦语" in table
    assert ":green-background[小明]" in table


def test_a_failed_training_says_why_and_can_be_resumed(failed_run, fake_engine):
    page = open_page("train")
    assert any("显存不足" in error.value for error in page.error)
    assert any("CUDA out of memory" in code.value for code in page.code)
    fake_engine("ok")
    page.button(key=f"resume-{failed_run.id}").click().run()
    assert failed_run.job.wait(30) is Status.FINISHED


def test_a_loss_that_is_no_number_is_a_gap(workspace, config, fake_engine):
    fake_engine("nan")
    run = runs.start(workspace, config.name)
    run.job.wait(30)
    assert any("第 7 次迭代" in error.value and "NaN" in error.value for error in open_page("train").error)


@pytest.mark.usefixtures("finished_run")
def test_the_chosen_run_is_that_of_the_address(workspace, config, fake_engine):
    first = runs.find(workspace, "latest")
    fake_engine("ok")
    second = runs.start(workspace, config.name)
    second.job.wait(30)
    assert open_page("train", run=first.id).selectbox(key="run").value == first.id
    assert open_page("train").selectbox(key="run").value == second.id
    assert open_page("train", run="gone").selectbox(key="run").value == second.id
