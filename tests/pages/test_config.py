"""The config page: made by a recipe, edited by form and by hand, checked."""

import pytest

from core.config import config as configs
from core.config import preflight as forecast
from tests.pages.screen import open_page, texts


@pytest.mark.usefixtures("workspace")
def test_an_empty_workspace_says_what_to_do():
    page = open_page("config")
    shown = texts(page)
    assert "还没有完整的模型" in shown
    assert "还没有数据集" in shown


@pytest.mark.usefixtures("small_model", "dataset")
@pytest.mark.parametrize("recipe", ["fast", "course"])
def test_a_config_is_made(workspace, recipe):
    page = open_page("config")
    page.selectbox(key="config_recipe").set_value(recipe).run()
    page.button(key="make_config").click().run()
    made = configs.every(workspace)
    assert [config.facts["recipe"] for config in made] == [recipe]
    assert page.selectbox(key="config").value == made[0].name
    assert any("+++ config.py" in code.value for code in page.code)


@pytest.mark.usefixtures("small_model", "dataset")
def test_a_preset_that_does_not_fit_is_refused(workspace):
    page = open_page("config")
    page.selectbox(key="config_preset_fast").set_value("internlm2_1_8b_full_custom_pretrain_e1")
    page.button(key="make_config").click().run()
    assert any("不适用于预设" in error.value for error in page.error)
    assert not configs.every(workspace)


def field(page, name):
    """The form's widget of a setting."""
    kinds = (page.number_input, page.text_input, page.text_area, page.toggle)
    return next(widget for kind in kinds for widget in kind if str(widget.key).endswith(f"-{name}"))


def test_a_setting_is_changed_by_the_form_and_nothing_else_is(workspace, config):
    before = config.values()
    page = open_page("config")
    field(page, "max_epochs").set_value(5)
    field(page, "lr").set_value("2e-4")
    field(page, "evaluation_inputs").set_value("你是谁\n\n你好 ")
    page.button(key="save_settings").click().run()
    after = configs.find(workspace, config.name).values()
    assert after == {**before, "max_epochs": 5, "lr": 2e-4, "evaluation_inputs": ["你是谁", "你好"]}
    assert field(page, "max_epochs").value == 5


def test_a_setting_out_of_bounds_is_refused_and_stays_as_typed(workspace, config):
    before = config.text()
    page = open_page("config")
    field(page, "lr").set_value("much")
    page.button(key="save_settings").click().run()
    assert any("lr" in error.value for error in page.error)
    assert field(page, "lr").value == "much"
    assert configs.find(workspace, config.name).text() == before


def test_the_file_is_edited_by_hand_and_an_error_names_its_line(workspace, config):
    page = open_page("config")
    editor = next(area for area in page.text_area if str(area.key).startswith("text-"))
    wrong = "lr = 1\nlr = = 2\n"
    editor.set_value(wrong)
    page.button(key="save_text").click().run()
    assert any("第 2 行" in error.value for error in page.error)
    editor = next(area for area in page.text_area if str(area.key).startswith("text-"))
    assert editor.value == wrong
    text = config.text().replace("max_epochs = ", "max_epochs = 1")
    editor.set_value(text)
    page.button(key="save_text").click().run()
    assert configs.find(workspace, config.name).text() == text
    assert not page.error


@pytest.mark.usefixtures("config")
def test_the_preflight_shows_its_numbers_until_the_config_changes(monkeypatch):
    facts = {
        "samples": 275, "tokens": 9000, "longest": 60, "batch_size": 16, "max_epochs": 7, "max_iters": None,
        "accumulative_counts": 1, "save_steps": 42, "save_total_limit": 3, "evaluation_freq": 21,
        "evaluation_inputs": 2, "warmup_epochs": 0.21, "flops_per_s": 1e11, "quantised": False, "lora_r": 16,
        "activation_checkpointing": False,
    }  # fmt: skip
    monkeypatch.setattr(forecast, "config_facts", lambda *_: facts)
    page = open_page("config")
    page.button(key="run_preflight").click().run()
    assert "126" in [metric.value for metric in page.metric]
    field(page, "max_epochs").set_value(5)
    page.button(key="save_settings").click().run()
    assert not page.metric


@pytest.mark.usefixtures("config")
def test_a_config_whose_model_is_gone_shows_the_problem(small_model):
    (small_model.path / "model.safetensors").unlink()
    page = open_page("config")
    page.button(key="run_preflight").click().run()
    assert any("model" in error.value for error in page.error)
