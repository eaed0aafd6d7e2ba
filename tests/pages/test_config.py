"""The config page: created by a recipe, edited by form and by hand, checked."""

import re
from concurrent.futures import Future

import pytest

from core.config import config as configs
from core.config import exchange, own_recipe
from core.engine import consent
from core.forecast import preflight as forecast
from core.ground.errors import BadInput
from core.jobs.job import wait_until
from pages.components.config import preflight
from tests.conftest import PATIENCE
from tests.core.forecast.test_preflight import MACHINE, changed
from tests.pages.screen import lid, open_page, primary, tab, texts

TAB = "config_tab"
SETTINGS, PYTHON, EDITS, FORECAST = "设置", "Python 文件", "改动与理由", "预检详情"


@pytest.mark.usefixtures("workspace")
def test_an_empty_workspace_says_what_to_do():
    page = open_page("config")
    shown = texts(page)
    assert "还没有可以训练的模型" in shown
    assert "还没有数据集" in shown


@pytest.mark.usefixtures("small_model", "dataset")
@pytest.mark.parametrize("recipe", ["fast", "course"])
def test_a_config_is_made(workspace, recipe):
    page = lid(open_page("config"), "new_config")
    page.selectbox(key="config_recipe").set_value(recipe).run()
    page.button(key="make_config").click().run()
    made = configs.every(workspace)
    assert [config.facts["recipe"] for config in made] == [recipe]
    assert page.selectbox(key="config").value == made[0].name
    assert any("+++ config.py" in code.value for code in tab(page, TAB, EDITS).code)


@pytest.mark.usefixtures("small_model", "dataset")
def test_a_preset_that_does_not_fit_is_refused(workspace):
    page = open_page("config")
    page.selectbox(key="config_preset_fast_demo_True").set_value("internlm2_1_8b_full_custom_pretrain_e1")
    page.button(key="make_config").click().run()
    assert any("不适用于预设" in error.value for error in page.error)
    assert not configs.every(workspace)


def field(page, name):
    """Return the form's widget of a setting."""
    lid(tab(page, TAB, SETTINGS), "more_settings")
    kinds = (page.selectbox, page.text_input, page.text_area, page.toggle)
    return next(widget for kind in kinds for widget in kind if str(widget.key) == f"set-assistant-fast-{name}")


def editor(page):
    tab(page, TAB, PYTHON)
    found = next(widget for widget in page.text_area if str(widget.key).startswith("text-assistant-fast-"))
    # What is sent with the widget itself cannot be lost on the way to the browser, unlike what is set later.
    assert found.proto.default == found.value
    return found


def test_a_setting_goes_into_the_file_at_once_and_nothing_else_does(workspace, config):
    before = config.values()
    page = open_page("config")
    assert field(page, "max_epochs").value == str(before["max_epochs"])
    field(page, "max_epochs").set_value("5").run()
    field(page, "lr").set_value("0.0002").run()
    field(page, "evaluation_inputs").set_value("你是谁\n\n你好 ").run()
    field(page, "pack_to_max_length").set_value(True).run()
    after = configs.find(workspace, config.name).values()
    assert after == {
        **before, "max_epochs": 5, "lr": 2e-4, "evaluation_inputs": ["你是谁", "你好"], "pack_to_max_length": True,
    }  # fmt: skip
    assert field(page, "max_epochs").value == "5"
    assert "max_epochs = 5" in editor(page).value
    assert any("+max_epochs = 5" in code.value for code in tab(page, TAB, EDITS).code)


def test_the_method_is_switched_and_back(workspace, config):
    page = open_page("config")
    assert field(page, "method").value == "lora"
    field(page, "method").set_value("full").run()
    assert configs.find(workspace, config.name).values()["r"] is None
    assert not any(str(widget.key).endswith("-r") for widget in page.selectbox)
    field(page, "method").set_value("qlora").run()
    values = configs.find(workspace, config.name).values()
    assert (values["method"], values["quantisation"], values["r"]) == ("qlora", "nf4", 64)
    assert not page.error


def test_a_setting_that_does_not_fit_is_refused_and_stays_as_typed(workspace, config):
    before = config.text()
    page = open_page("config")
    field(page, "evaluation_inputs").set_value(" \n ").run()
    assert any("evaluation" in error.value for error in page.error)
    assert field(page, "evaluation_inputs").value == " \n "
    assert configs.find(workspace, config.name).text() == before
    field(page, "evaluation_inputs").set_value("你是谁").run()
    assert not page.error
    assert configs.find(workspace, config.name).values()["evaluation_inputs"] == ["你是谁"]


def test_the_python_is_edited_and_the_form_follows(workspace, config):
    page = open_page("config")
    text = config.text().replace("lr = 0.002", "lr = 0.0005  # mine")
    assert text != config.text()
    editor(page).set_value(text).run()
    assert configs.find(workspace, config.name).text() == text
    assert field(page, "lr").value == "0.0005"
    field(page, "batch_size").set_value("4").run()
    assert "lr = 0.0005  # mine" in editor(page).value
    page.button(key="undo").click().run()
    assert editor(page).value == text
    page.button(key="undo").click().run()
    assert configs.find(workspace, config.name).text() == config.text().replace("batch_size = 4", "batch_size = 16")
    page.button(key="redo").click().run()
    assert configs.find(workspace, config.name).text() == text


def test_a_syntax_error_is_shown_at_its_line_and_nothing_is_lost(workspace, config):
    before = config.text()
    page = open_page("config")
    wrong = "lr = 1\nlr = = 2\n"
    editor(page).set_value(wrong).run()
    assert any("--wrong-line: 2;" in html.proto.body for html in page.get("html"))
    # Once, in the card at the top.
    assert ["第 2 行" in words.value for words in (*page.markdown, *page.error)].count(True) == 1
    assert configs.find(workspace, config.name).text() == before
    assert field(page, "lr").disabled
    # Nor by another tab or the command line.
    with pytest.raises(BadInput):
        configs.change(workspace, config.name, {"lr": 0.001})
    again = open_page("config")
    # Where it has to be corrected is what is open.
    assert again.button(key="discard_draft")
    assert editor(again).value == wrong
    again.button(key="discard_draft").click().run()
    assert editor(again).value == before
    assert not again.error
    assert any("--wrong-line: 0;" in html.proto.body for html in again.get("html"))


def test_questions_that_are_no_texts_are_for_the_editor(workspace, config):
    page = open_page("config")
    text = re.sub(r"(?s)evaluation_inputs = \[.*?\]", "evaluation_inputs = ['你好', 5]", config.text(), count=1)
    assert text != config.text()
    editor(page).set_value(text).run()
    assert not page.exception
    assert not field(page, "lr").disabled
    assert configs.find(workspace, config.name).text() == text


def test_saved_under_another_name_and_as_a_recipe(workspace, config):
    page = open_page("config")
    page.text_input(key="save_as_name").set_value("second").run()
    page.button(key="save_as").click().run()
    assert page.selectbox(key="config").value == "second"
    assert configs.find(workspace, "second").text() == config.text()
    page.text_input(key="recipe_name").set_value("mine").run()
    page.button(key="save_recipe").click().run()
    assert [recipe.name for recipe in own_recipe.every(workspace)] == ["mine"]
    page = lid(open_page("config"), "new_config")
    page.selectbox(key="config_recipe").set_value("mine").run()
    page.button(key="make_config").click().run()
    assert page.selectbox(key="config").value == "assistant-mine"


@pytest.mark.usefixtures("config")
def test_presets_are_searched():
    page = lid(open_page("config"), "new_config")
    page.text_input(key="preset_words").set_value("qwen medical").run()
    assert any("共 589 个" in caption.value for caption in page.caption)
    shown = page.dataframe[0].value
    assert 0 < len(shown) < 20
    assert shown["预设"].str.contains("qwen").all()


def verdict(page):
    """Return the page with the forecast, which a background thread computes."""
    tab(page, TAB, FORECAST)
    if "正在预检" in texts(page):
        page.button(key="run_preflight").click().run()
    assert wait_until(lambda: "正在预检" not in texts(page) or not page.run(), PATIENCE)
    return page


@pytest.fixture
def facts(monkeypatch):
    """The engine's measurements of a config, without an engine."""
    found = changed()
    monkeypatch.setattr(forecast, "config_facts", lambda *_: found)
    monkeypatch.setattr(forecast, "machine", lambda *_: MACHINE)
    monkeypatch.setattr(forecast, "prove", lambda *_: None)
    return found


@pytest.mark.usefixtures("config")
def test_the_verdict_is_on_top_until_the_config_changes(facts):
    facts.update(changed(checkpoint__interval=500))
    page = verdict(open_page("config"))
    assert "120" in [metric.value for metric in page.metric]
    fix = next(button for button in page.button if str(button.key).startswith("fix-"))
    assert "save_steps=40" in fix.label.replace("\\", "")
    facts.update(changed())
    fix.click().run()
    verdict(page)
    assert "**可以训练**" in texts(page)
    assert "120 次参数更新" in texts(page)
    # XTuner answers twice at the end, which is stated rather than shown as the same iteration twice.
    assert "120，训练结束后再答一次" in texts(page)
    assert "120, 120" not in texts(page)
    assert primary(page) == ["下一步：开始训练"]
    assert not [button for button in page.button if str(button.key).startswith("fix-")]
    assert field(page, "save_steps").value == "40"
    field(page, "max_epochs").set_value("5").run()
    assert not tab(page, TAB, FORECAST).metric


@pytest.mark.usefixtures("config")
def test_what_cannot_be_trained_is_mended_first(facts):
    facts["data"]["samples"] = 0
    page = verdict(open_page("config"))
    assert "还不能训练" in texts(page)


@pytest.mark.usefixtures("config")
def test_a_preflight_begins_by_itself(monkeypatch):
    """Once the user stays; immediately if the engine has inspected this config before."""
    begun = []
    monkeypatch.setattr(preflight, "beside", lambda _: begun.append(True) or Future())
    page = open_page("config")
    assert not begun
    page.run()
    assert not begun
    monkeypatch.setattr(preflight, "ticked", lambda: True)
    page.run()
    assert begun == [True]
    monkeypatch.setattr(preflight, "config_facts", lambda *_, **__: {"max_iters": 1})
    open_page("config")
    assert begun == [True, True]


@pytest.mark.usefixtures("config", "facts")
def test_a_picture_of_the_page_waits_for_the_verdict():
    assert "**可以训练**" in texts(open_page("config", shot="1"))


@pytest.mark.usefixtures("config")
def test_a_config_whose_model_is_gone_shows_the_problem(small_model):
    (small_model.path / "model.safetensors").unlink()
    page = verdict(open_page("config"))
    assert any("model" in error.value for error in page.error)
    assert primary(page) == ["前往“准备”"]


@pytest.fixture
def theirs(workspace, config, tmp_path):
    """A config from elsewhere, with a line that writes a file."""
    line = f"open({str(tmp_path / 'ran')!r}, 'w').close()"
    return exchange.take(workspace, "theirs.py", f"{config.text()}\n{line}\n")


def test_a_config_from_elsewhere_is_asked_about_before_it_runs(workspace, theirs, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(preflight, "beside", lambda _: begun.append(True) or Future())
    monkeypatch.setattr(preflight, "ticked", lambda: True)
    page = open_page("config", config="theirs")
    page.run()
    assert any("来自别处" in warning.value for warning in page.warning)
    shown = next(code.value for code in page.code if "open(" in code.value)
    assert [line.split(None, 1)[1] for line in shown.splitlines()] == [theirs.text().splitlines()[-1]]
    assert primary(page) == ["我信任 theirs，允许运行"]
    # Also with the button that recomputes the forecast.
    monkeypatch.setattr(preflight, "beside", lambda make: begun.append(make()) or Future())
    tab(page, TAB, FORECAST).button(key="run_preflight").click().run()
    assert [problem.where for found in begun for problem in found.problems] == ["agreement"]
    assert not (tmp_path / "ran").exists()
    agree = next(button for button in page.button if str(button.key).startswith("execute-"))
    begun.clear()
    monkeypatch.setattr(preflight, "beside", lambda _: begun.append(True) or Future())
    agree.click().run()
    assert consent.agreed(workspace, theirs.text())
    assert not any("来自别处" in warning.value for warning in page.warning)
    page.run()
    assert begun, "and now it is looked at"
    assert not any("来自别处" in warning.value for warning in open_page("config", config="theirs").warning)


def test_a_click_is_for_the_text_that_was_shown(workspace, theirs):
    page = open_page("config", config="theirs")
    agree = next(button for button in page.button if str(button.key).startswith("execute-"))
    theirs.file.write_text(theirs.text() + "import os\n", encoding="utf-8")
    agree.click().run()
    assert not consent.agreed(workspace, theirs.text())
    assert any("import os" in code.value for code in page.code)


@pytest.mark.usefixtures("config", "facts")
def test_a_config_that_was_made_here_is_not_asked_about():
    page = open_page("config")
    assert not page.warning
    assert not [button for button in page.button if str(button.key).startswith("execute-")]
