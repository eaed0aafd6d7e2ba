"""The dataset page: made of a nickname, imported from a file, looked at."""

import pytest

from core.data import dataset as datasets
from core.data.assistant import course_rows
from tests.pages.screen import cells, open_page, texts


@pytest.mark.usefixtures("workspace")
def test_an_empty_workspace_says_what_to_do():
    page = open_page("dataset")
    assert any("还没有数据集" in info.value for info in page.info)
    assert "填上昵称就能看到" in texts(page)


def test_a_nickname_shows_its_rows_before_they_are_stored(workspace):
    page = open_page("dataset")
    page.text_input(key="dataset_nickname").set_value("小*红*").run()
    assert any("我是小*红*的小助手" in text.value for text in page.text)
    assert not datasets.every(workspace)
    page.button(key="make_dataset").click().run()
    assert [made.nickname for made in datasets.every(workspace)] == ["小*红*"]
    assert page.selectbox(key="dataset").value == "assistant"
    assert page.metric[0].value == f"{datasets.find(workspace, 'assistant').rows:,}"


def test_the_course_recipe_warns_of_a_large_n(workspace):
    page = open_page("dataset")
    page.text_input(key="dataset_nickname").set_value("小明")
    page.radio(key="dataset_recipe").set_value("course").run()
    assert any("过拟合" in warning.value for warning in page.warning)
    assert "共 7502 行" in texts(page)
    page.number_input(key="dataset_n").set_value(10)
    page.button(key="make_dataset").click().run()
    assert datasets.find(workspace, "assistant").load() == course_rows("小明", 10)
    assert not any("身份回答一切" in warning.value for warning in page.warning if "均衡配方" in warning.value)


@pytest.mark.parametrize("nickname", ["", "长" * 31, "a/b"])
def test_a_nickname_that_will_not_do_is_refused_and_stays(workspace, nickname):
    page = open_page("dataset")
    page.text_input(key="dataset_nickname").set_value(nickname)
    page.button(key="make_dataset").click().run()
    assert any("昵称" in error.value for error in page.error)
    assert page.text_input(key="dataset_nickname").value == nickname
    assert not datasets.every(workspace)


def test_a_name_that_is_taken_is_refused(workspace, dataset):
    page = open_page("dataset")
    page.text_input(key="dataset_nickname").set_value("小红")
    page.text_input(key="dataset_name").set_value(dataset.name)
    page.button(key="make_dataset").click().run()
    assert any("已存在" in error.value for error in page.error)
    assert datasets.find(workspace, dataset.name).nickname == "小明"


def test_a_file_is_imported_and_its_bad_rows_are_told(workspace):
    page = open_page("dataset")
    content = '{"instruction": "问", "output": "答"}\n{"instruction": "问"}\n'.encode()
    page.file_uploader(key="dataset_file").set_value(("alpaca.jsonl", content, "application/json")).run()
    page.button(key="import_dataset").click().run()
    assert [made.made["format"] for made in datasets.every(workspace)] == ["alpaca"]
    assert any("已导入" in success.value for success in page.success)
    assert any("有 1 行不能用" in warning.value for warning in page.warning)
    assert "不是 alpaca 格式" in cells(page)


def test_a_file_that_cannot_be_read_is_refused(workspace):
    page = open_page("dataset")
    page.file_uploader(key="dataset_file").set_value(("broken.json", b"{", "application/json")).run()
    page.button(key="import_dataset").click().run()
    assert any("不是合法的 JSON" in error.value for error in page.error)
    assert not datasets.every(workspace)


def test_a_dataset_shows_its_rows_and_checks(dataset):
    page = open_page("dataset")
    assert page.metric[1].value == str(dataset.unique_rows)
    assert ":green-background[小明]" in cells(page)
    assert any("没有发现问题" in success.value for success in page.success)
    assert any("需要一个模型" in info.value for info in page.info)
