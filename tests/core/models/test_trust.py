"""A model's own code runs only with permission, which applies to the files as shown."""

import json

import pytest

from core.config import config as configs
from core.config.check import check as check_config
from core.ground.errors import BadInput
from core.models import model as models
from core.models import trust
from core.training import run as runs
from tests.fakes.model import write_model


@pytest.fixture
def linked(workspace, tmp_path):
    return models.link(workspace, write_model(tmp_path / "shared" / "m")).path


def test_asked_for_once(workspace, linked):
    code = trust.code(workspace, linked)
    assert sorted(code.files) == ["configuration_internlm2.py", "modeling_internlm2.py"]
    assert code.asked == ("configuration_internlm2.py", "modeling_internlm2.py")
    assert all(len(digest) == 64 for digest in code.files.values())
    with pytest.raises(BadInput) as refused:
        models.usable(workspace, "m")
    assert "models trust m" in str(refused.value)
    assert "modeling_internlm2.py" in str(refused.value)
    trust.agree(workspace, linked)
    assert trust.code(workspace, linked).trusted
    assert models.usable(workspace, "m").whole


@pytest.mark.parametrize("subdirectory", ["", "sub"])
def test_asked_again_when_the_code_changes(workspace, linked, subdirectory):
    (linked / subdirectory).mkdir(exist_ok=True)
    file = linked / subdirectory / "modeling_internlm2.py"
    file.write_text("x = 1\n")
    trust.agree(workspace, linked)
    file.write_text("import os\n")
    code = trust.code(workspace, linked)
    assert code.changed == (str(file.relative_to(linked)),)
    with pytest.raises(BadInput) as refused:
        models.usable(workspace, "m")
    assert "同意之后变了" in refused.value.text.zh
    file.unlink()
    (linked / "another.py").write_text("")
    assert trust.code(workspace, linked).new == ("another.py",)


def test_leave_is_for_what_was_seen(workspace, linked):
    seen = trust.code(workspace, linked).files
    (linked / "modeling_internlm2.py").write_text("import os\n")
    with pytest.raises(BadInput, match="modeling_internlm2.py"):
        trust.agree(workspace, linked, seen)
    assert trust.code(workspace, linked).new == ("configuration_internlm2.py", "modeling_internlm2.py")
    assert linked.resolve() == linked.readlink(), "and nothing was copied"


def test_leave_taken_back(workspace, linked):
    trust.agree(workspace, linked)
    trust.withdraw(workspace, "m")
    trust.withdraw(workspace, "m")
    assert not trust.code(workspace, linked).trusted


def test_another_model_under_the_same_name_is_asked_for_again(workspace, linked, tmp_path):
    trust.agree(workspace, linked)
    linked.unlink()
    other = write_model(tmp_path / "other" / "m")
    (other / "modeling_internlm2.py").write_text("import os\n")
    assert not trust.code(workspace, models.link(workspace, other).path).trusted


def test_a_model_that_brings_no_code_is_not_asked_for(workspace, tmp_path):
    directory = write_model(tmp_path / "native")
    config = json.loads((directory / "config.json").read_text())
    del config["auto_map"]
    config |= {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    (directory / "config.json").write_text(json.dumps(config))
    path = models.link(workspace, directory).path
    assert trust.code(workspace, path) == trust.NONE
    assert models.usable(workspace, "native").whole


def test_code_of_another_place_is_nothing_to_agree_to(workspace, tmp_path):
    directory = write_model(tmp_path / "foreign")
    config = json.loads((directory / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "/home/x/evil--payload.Config"}
    path = models.link(workspace, directory).path
    (directory / "config.json").write_text(json.dumps(config))
    trust.agree(workspace, path)
    assert not trust.code(workspace, path).trusted
    with pytest.raises(BadInput, match="evil--payload"):
        models.usable(workspace, "foreign")
    for file in directory.glob("*.py"):
        file.unlink()
    assert not trust.code(workspace, path).trusted


def test_the_demo_model_is_ours_and_a_link_of_that_name_is_not(workspace, tmp_path, small_model):
    assert trust.code(workspace, small_model.path).trusted
    models.delete(workspace, small_model.name)
    linked = models.link(workspace, write_model(tmp_path / "x", demo=True), "demo")
    assert not trust.code(workspace, linked.path).trusted


def test_nothing_is_made_of_a_model_without_leave(workspace, linked, dataset):
    with pytest.raises(BadInput):
        configs.make(workspace, model="m", dataset=dataset.name)
    assert configs.every(workspace) == []
    trust.agree(workspace, linked)
    made = configs.make(workspace, model="m", dataset=dataset.name)
    trust.withdraw(workspace, "m")
    assert [problem.where for problem in check_config(workspace, made)] == ["model"]


def test_a_run_whose_model_has_changed_its_code_is_not_resumed(workspace, failed_run, small_model):
    models.delete(workspace, small_model.name)
    linked = models.link(workspace, write_model(workspace.root.parent / "other"), small_model.name)
    with pytest.raises(BadInput) as refused:
        runs.resume(workspace, failed_run)
    assert "models trust" in str(refused.value)
    trust.agree(workspace, linked.path)
    assert runs.resume(workspace, failed_run).job.name == "train-2"
