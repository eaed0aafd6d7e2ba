"""Export and import of files and recipes; earlier versions; a draft that is not valid Python yet."""

import json

import pytest

from core.config import config as configs
from core.config import exchange, own_recipe
from core.config import versions as versions_module
from core.config.check import check as check_config
from core.engine.config_file import SyntaxRefusal
from core.engine.presets import COURSE_PRESET, preset_text, presets
from core.ground.errors import BadInput
from tests.conftest import PATIENCE


@pytest.mark.usefixtures("small_model", "dataset")
def test_copy_and_import_as_in_the_course(workspace, tmp_path):
    copied = exchange.copy_preset(workspace, COURSE_PRESET, tmp_path)
    assert copied.name == "internlm2_chat_1_8b_qlora_alpaca_e3_copy.py"
    assert copied.read_bytes() == presets()[COURSE_PRESET].read_bytes()
    with pytest.raises(BadInput):
        exchange.copy_preset(workspace, COURSE_PRESET, tmp_path)
    with pytest.raises(BadInput) as refused:
        exchange.take(workspace, copied.name, copied.read_text())
    assert "internlm/internlm2-chat-1_8b" in str(refused.value)
    made = exchange.take(workspace, copied.name, copied.read_text(), model="demo", dataset="assistant")
    assert made.name == copied.stem
    assert made.facts["preset"] == COURSE_PRESET
    assert (made.model, made.dataset) == ("demo", "assistant")
    assert check_config(workspace, made) == []
    assert "+++ config.py" in made.diff()
    assert exchange.export(workspace, made.name, tmp_path / "mine.py").read_text() == made.text()


@pytest.mark.usefixtures("small_model", "dataset")
def test_a_config_by_hand_opens_with_the_fields_it_has(workspace):
    """Loops, deletions, carriage returns and an unusual name: nothing is executed, nothing is lost."""
    text = (
        preset_text(COURSE_PRESET).replace("\n", "\r\n")
        + "for n in range(3):\r\n    lr = lr * 0.5\r\ndel model['lora']\r\n"
    )
    made = exchange.take(workspace, "my config!.py", text, model="demo", dataset="assistant")
    assert made.name == "my-config"
    assert made.text().endswith("del model['lora']\r\n")
    values = made.values()
    assert values["batch_size"] == 1
    configs.change(workspace, made.name, {"batch_size": 2})
    assert configs.find(workspace, made.name).text().count("\r\n") == made.text().count("\r\n")
    with pytest.raises(BadInput):
        configs.change(workspace, made.name, {"lr": 1e-3})


def test_a_file_that_is_no_python_is_refused_with_its_line(workspace, config):
    with pytest.raises(SyntaxRefusal) as refused:
        exchange.take(workspace, "x.py", "a = 1\nb = = 2\n", model="demo", dataset="assistant")
    assert refused.value.line == 2
    assert configs.every(workspace) == [config]


def test_the_model_is_that_of_the_text(workspace, config, small_model):
    text = config.text().replace(str(small_model.path), "/somewhere/else")
    changed = configs.replace_text(workspace, config.name, text)
    assert changed.model == "demo"
    assert [problem.where for problem in check_config(workspace, changed)] == ["model"]
    assert configs.change(workspace, config.name, {"model": "demo"}).text().count(str(small_model.path)) == 1
    assert check_config(workspace, configs.find(workspace, config.name)) == []


def test_undo_and_redo(workspace, config):
    texts = [config.text()]
    for lr in (1e-3, 2e-3 + 1e-4, 3e-3):
        texts.append(configs.change(workspace, config.name, {"lr": lr}).text())
    for text in reversed(texts[:-1]):
        assert configs.step(workspace, config.name, -1).text() == text
    assert configs.step(workspace, config.name, -1).text() == texts[0]
    for text in texts[1:]:
        assert configs.step(workspace, config.name, 1).text() == text
    configs.step(workspace, config.name, -1)
    configs.change(workspace, config.name, {"lr": 5e-3})
    assert not configs.find(workspace, config.name).versions.can_redo


def test_words_typed_in_a_row_are_one_step(workspace, config, monkeypatch):
    before = config.text()
    monkeypatch.setattr(versions_module, "TYPING_SECONDS", PATIENCE)
    for words in ("# a", "# ab", "# abc"):
        configs.replace_text(workspace, config.name, f"{before}{words}\n", typed=True)
    assert configs.step(workspace, config.name, -1).text() == before
    monkeypatch.setattr(versions_module, "TYPING_SECONDS", -1)
    for words in ("# a", "# ab"):
        configs.replace_text(workspace, config.name, f"{before}{words}\n", typed=True)
    assert configs.step(workspace, config.name, -1).text() == f"{before}# a\n"


def test_a_draft_is_kept_until_it_is_right(workspace, config):
    config.versions.keep_draft("lr = = 1")
    assert configs.find(workspace, config.name).versions.draft == "lr = = 1"
    configs.replace_text(workspace, config.name, config.text() + "# right\n")
    assert config.versions.draft is None


def test_own_recipe_goes_to_another_and_back(workspace, config, small_model):
    configs.change(workspace, config.name, {"lr": 7e-3})
    config = configs.find(workspace, config.name)
    texts = {"preset": config.facts["preset"], "text": config.text(), "base": config.base_text()}
    mine = own_recipe.save(workspace, "mine", "quick", **texts)
    shared = json.dumps(mine.to_json(), ensure_ascii=False)
    assert str(workspace.root) not in shared
    taken = own_recipe.take(workspace, shared, "theirs")
    made = configs.make(workspace, model=small_model.name, dataset="assistant", recipe=taken.name)
    assert made.values()["lr"] == 7e-3
    assert check_config(workspace, made) == []
    assert made.base_text() == config.base_text()
    for bad in ("{", "[" * 200_000, "[]", '{"format": "x"}', shared.replace("lr = ", "lr = = ")):
        with pytest.raises(BadInput) as refused:
            own_recipe.take(workspace, bad, "bad")
        # In our own words.
        assert "line 1 column" not in refused.value.text.en
    for name in ("mine", "fast", "../x"):
        with pytest.raises(BadInput):
            own_recipe.take(workspace, shared, name)
    own_recipe.remove(workspace, "mine")
    assert [recipe.name for recipe in own_recipe.every(workspace)] == ["theirs"]


def test_save_as(workspace, config):
    made = configs.save_as(workspace, config.name, "copy")
    assert (made.text(), made.model) == (config.text(), config.model)
    with pytest.raises(BadInput):
        configs.save_as(workspace, config.name, "copy")
