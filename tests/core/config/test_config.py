"""A config is created, changed and compared; an invalid change leaves the file as it was."""

import json
import os

import pytest

from core.config import config as configs
from core.config.check import check as check_config
from core.config.settings.field import parse_setting
from core.data import dataset as datasets
from core.engine.config_file import Source
from core.ground.errors import BadInput


def test_made(workspace, config, dataset):
    assert config.name == "assistant-fast"
    assert sorted(os.listdir(config.path)) == ["base.py", "config.json", "config.py"]
    assert (config.model, config.dataset) == ("demo", "assistant")
    assert check_config(workspace, config) == []
    text = config.text()
    assert repr(str(dataset.data)) in text
    assert repr(str(workspace.model("demo"))) in text
    compile(text, "config.py", "exec")
    values = config.values()
    assert values["accumulative_counts"] == 1
    assert values["evaluation_inputs"] == ["请介绍一下你自己", "你在实战营做什么"]
    assert not any(isinstance(value, Source) for value in values.values())
    facts = json.loads((config.path / "config.json").read_text(encoding="utf-8"))
    assert facts["recipe"] == "fast"
    assert all(edit["path"] and edit["why"]["zh"] for edit in facts["edits"])


def test_found_again(workspace, config):
    assert configs.find(workspace, config.name) == config
    assert configs.every(workspace) == [config]
    assert configs.model_of(workspace, config).whole
    with pytest.raises(BadInput) as refused:
        configs.find(workspace, "nothing")
    assert "configs new" in str(refused.value)


def test_diff(config):
    diff = config.diff()
    assert diff.startswith("--- internlm2_chat_1_8b_qlora_alpaca_e3.py\n+++ config.py")
    assert "+pack_to_max_length = False" in diff
    assert "-pack_to_max_length = True" in diff


def test_change(workspace, config):
    configs.change(workspace, config.name, {"lr": 1e-3, "SYSTEM": 'it\'s "me"\n{x}', "evaluation_inputs": ["你好"]})
    values = configs.find(workspace, config.name).values()
    assert (values["lr"], values["SYSTEM"], values["evaluation_inputs"]) == (1e-3, 'it\'s "me"\n{x}', ["你好"])


@pytest.mark.parametrize(
    "settings",
    [{"lr": -1.0}, {"batch_size": 4, "lr": "quick"}, {"no_such": 1}, {"max_epochs": 2, "evaluation_inputs": []}],
)
def test_change_that_does_not_fit(workspace, config, settings):
    before = config.text()
    with pytest.raises(BadInput) as refused:
        configs.change(workspace, config.name, settings)
    assert list(settings)[-1] in str(refused.value)
    assert config.text() == before
    assert sorted(os.listdir(config.path)) == ["base.py", "config.json", "config.py"]


def test_replace_text(workspace, config):
    text = config.text() + "\n# mine\n"
    configs.replace_text(workspace, config.name, text)
    assert config.text() == text


@pytest.mark.parametrize("text", ["a = = 1\n", "def f(:\n", "x\0", "(" * 3000])
def test_replace_text_by_what_is_no_python(workspace, config, text):
    before = config.text()
    with pytest.raises(BadInput) as refused:
        configs.replace_text(workspace, config.name, text)
    assert "line 1" in refused.value.text.en
    assert config.text() == before


@pytest.mark.usefixtures("small_model", "dataset")
def test_bad_input_writes_nothing(workspace):
    for options in (
        {"recipe": "best"},
        {"model": "nothing"},
        {"model": "../x"},
        {"dataset": "nothing"},
        {"preset": "nothing"},
        {"preset": "internlm2_chat_1_8b_full_alpaca_e3"},
        {"name": "../x", "recipe": "course"},
        {"settings": {"lr": 5.0, "no_such": 5.0}, "recipe": "course"},
    ):
        with pytest.raises(BadInput):
            configs.make(workspace, **{"model": "demo", "dataset": "assistant", **options})
        assert set(os.listdir(workspace.root)) <= {"cache", "datasets", "models"}


def test_taken_name(workspace, config):
    before = config.text()
    with pytest.raises(BadInput):
        configs.make(workspace, model="demo", dataset="assistant", name=config.name, recipe="course")
    assert config.text() == before
    assert configs.make(workspace, model="demo", dataset="assistant").name == "assistant-fast-2"


@pytest.mark.usefixtures("small_model")
def test_dataset_with_the_longest_name(workspace):
    datasets.make_assistant(workspace, "小明", name="x" * 64)
    made = configs.make(workspace, model="demo", dataset="x" * 64)
    assert made.name.endswith("-fast")


def test_settings_from_the_start(workspace, small_model, dataset):
    made = configs.make(workspace, model=small_model.name, dataset=dataset.name, settings={"max_epochs": 9})
    assert made.values()["max_epochs"] == 9


def test_questions(workspace, small_model, tmp_path):
    (tmp_path / "x.jsonl").write_text(
        '{"question": " 一加一？ ", "answer": "二"}\n{"question": "甲", "answer": "乙"}\n'
    )
    made, _ = datasets.import_file(workspace, tmp_path / "x.jsonl")
    assert configs.questions_for(made) == ["一加一？", "甲"]
    config = configs.make(workspace, model=small_model.name, dataset=made.name)
    assert config.values()["evaluation_inputs"] == ["一加一？", "甲"]
    (tmp_path / "y.txt").write_text("很长的一段文字，还要继续写下去。")
    texts, _ = datasets.import_file(workspace, tmp_path / "y.txt")
    assert configs.questions_for(texts) == ["很长的一段文字，还要"]


def test_check_finds_every_problem(workspace, config):
    text = config.text().replace("batch_size = 16", "batch_size = 0").replace("max_epochs = ", "max_epochs = -")
    configs.replace_text(workspace, config.name, text)
    (workspace.model("demo") / "model.safetensors").unlink()
    (workspace.dataset("assistant") / "dataset.json").unlink()
    problems = check_config(workspace, config)
    assert [problem.where for problem in problems] == ["batch_size", "max_epochs", "model", "dataset"]
    assert all(problem.severity == "error" for problem in problems)


def test_check_of_what_is_no_python(workspace, config):
    config.file.write_text("a = = 1\n")
    (problem,) = check_config(workspace, config)
    assert problem.where == "config.py"
    assert "line 1" in problem.message.en


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("lr=1e-4", ("lr", 1e-4)),
        ("batch_size = 4", ("batch_size", 4)),
        ("pack_to_max_length=False", ("pack_to_max_length", False)),
        ("SYSTEM=你好 a=b", ("SYSTEM", "你好 a=b")),
        ("SYSTEM=", ("SYSTEM", "")),
        ("evaluation_inputs=['a', 'b']", ("evaluation_inputs", ["a", "b"])),
        ("SYSTEM=" + "(" * 300, ("SYSTEM", "(" * 300)),
    ],
)
def test_setting_of_the_command_line(text, setting):
    assert parse_setting(text) == setting


@pytest.mark.parametrize("text", ["lr", "", "=1"])
def test_setting_that_is_none(text):
    with pytest.raises(BadInput):
        parse_setting(text)


def test_datasets_may_lie_on_another_disk(workspace, config, tmp_path):
    """A link in the workspace points there; the config may name the file either way."""
    elsewhere = tmp_path / "disk" / "datasets"
    elsewhere.parent.mkdir()
    workspace.datasets.rename(elsewhere)
    workspace.datasets.symlink_to(elsewhere)
    here, there = str(workspace.datasets), str(elsewhere)
    assert check_config(workspace, config) == []
    configs.replace_text(workspace, config.name, config.text().replace(here, there))
    assert configs.find(workspace, config.name).dataset == config.dataset
    assert check_config(workspace, configs.find(workspace, config.name)) == []


@pytest.mark.parametrize(
    "preset",
    [
        "internlm2_chat_1_8b_full_alpaca_e3",
        "internlm2_chat_1_8b_dpo_full",
        "internlm2_chat_1_8b_reward_full_ultrafeedback",
    ],
)
def test_any_preset_as_it_is(workspace, small_model, dataset, preset):
    with pytest.raises(BadInput) as refused:
        configs.make(workspace, model=small_model.name, dataset=dataset.name, preset=preset, recipe="fast")
    assert "recipe preset" in refused.value.text.en
    made = configs.make(workspace, model=small_model.name, dataset=dataset.name, preset=preset, recipe="preset")
    assert str(small_model.path) in made.text()
    base = made.base_text().splitlines()
    changed = [line for line in made.text().splitlines() if line not in base]
    assert len(changed) < 20
    assert configs.find(workspace, made.name).facts["recipe"] == "preset"
