"""A model's own code runs only with permission, which applies to the files as shown."""

import errno
import json
import os
import shutil
import time

import pytest

from core.config import config as configs
from core.config.check import check as check_config
from core.ground.agreed_code import record
from core.ground.errors import BadInput
from core.ground.files import read_json, sha256
from core.models import agreed, trust
from core.models import model as models
from core.training import run as runs
from tests.conftest import PATIENCE
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


@pytest.mark.parametrize(
    ("new", "changed", "refused"), [((), (), False), (("a.py",), (), False), ((), ("b.py",), False), ((), (), True)]
)
def test_trusted_is_only_what_holds_nothing_unknown(new, changed, refused):
    code = trust.Code(files={}, new=new, changed=changed, refused=refused)
    assert code.trusted is not bool(new or changed or refused)
    assert code.asked == (*new, *changed)


def test_what_is_asked_is_in_order():
    code = trust.Code(files={}, new=("c.py", "a.py"), changed=("b.py",))
    assert code.asked == ("a.py", "b.py", "c.py")
    assert trust.NONE.trusted
    assert not trust.NONE.refused


def test_the_owner_s_files_are_looked_at_and_the_copy_s_too(workspace, linked):
    owner = agreed.origin(linked)
    trust.agree(workspace, linked)
    assert trust.code(workspace, linked).directory == owner
    kept = linked.resolve() / "modeling_internlm2.py"
    kept.chmod(0o600)
    kept.write_text("import os\n")
    code = trust.code(workspace, linked)
    assert (code.new, code.changed) == ((), ("modeling_internlm2.py",)), "somebody wrote into the copy"
    assert code.files == {name: sha256(file) for name, file in agreed.python_files(owner).items()}
    (owner / "modeling_internlm2.py").write_text("import os\n")
    assert trust.code(workspace, linked).changed == ("modeling_internlm2.py",), "told once"
    (linked.resolve() / "extra.py").write_text("")
    assert trust.code(workspace, linked).new == ("extra.py",)


def test_an_owner_who_is_away_leaves_the_copy(workspace, linked):
    trust.agree(workspace, linked)
    shutil.rmtree(agreed.origin(linked))
    code = trust.code(workspace, linked)
    assert code.trusted
    assert code.directory == linked.resolve()
    assert sorted(code.files) == ["configuration_internlm2.py", "modeling_internlm2.py"]


@pytest.mark.parametrize("of_copy", [False, True])
def test_a_file_that_is_too_large_for_code(workspace, linked, monkeypatch, of_copy):
    trust.agree(workspace, linked)
    monkeypatch.setattr(trust, "MOST_BYTES", 100)
    directory = linked.resolve() if of_copy else agreed.origin(linked)
    file = directory / "modeling_internlm2.py"
    file.chmod(0o600)
    os.truncate(file, 100)
    assert not trust.code(workspace, linked).refused, "as large as it may be"
    os.truncate(file, 101)
    code = trust.code(workspace, linked)
    assert (code.refused, code.trusted) == (True, False)
    assert (code.files, code.new, code.changed, code.directory) == ({}, (), (), agreed.origin(linked))


def test_code_that_is_refused_is_shown_and_not_agreed_to(workspace, linked):
    config = json.loads((linked / "config.json").read_text())
    config["auto_map"]["AutoTokenizer"] = ["other/place--module.Class", None]
    (linked / "config.json").write_text(json.dumps(config))
    code = trust.code(workspace, linked)
    assert code.refused
    assert code.new == ("configuration_internlm2.py", "modeling_internlm2.py")
    trust.agree(workspace, linked, code.files)
    assert not record(workspace.root, "m").exists()
    assert linked.resolve() == linked.readlink()


def test_only_code_from_elsewhere_is_no_model_without_code(workspace, linked):
    config = json.loads((linked / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "other/place--module.Class"}
    (linked / "config.json").write_text(json.dumps(config))
    assert trust.code(workspace, linked) != trust.NONE


def test_what_is_kept_of_an_agreement(workspace, linked):
    owner = linked.readlink()
    trust.agree(workspace, linked)
    kept = read_json(record(workspace.root, "m"))
    assert kept["files"] == {name: sha256(file) for name, file in agreed.python_files(owner).items()}
    assert kept["path"] == str(owner)
    assert abs(kept["agreed"] - time.time()) < PATIENCE


def test_a_model_in_the_workspace_itself_is_agreed_to_as_it_lies(workspace):
    path = write_model(workspace.model("own"))
    assert not trust.code(workspace, path).trusted
    trust.agree(workspace, path)
    assert trust.code(workspace, path).trusted
    assert trust.code(workspace, path).directory == path
    assert not path.is_symlink()
    assert not (workspace.root / "agreed").exists(), "nobody else can change it, so nothing is copied"


def test_nothing_is_agreed_to_where_there_is_no_code(workspace, tmp_path):
    directory = write_model(tmp_path / "native")
    (directory / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}))
    path = models.link(workspace, directory).path
    trust.agree(workspace, path)
    assert not record(workspace.root, "native").exists()


def test_a_copy_that_could_not_be_made_is_no_agreement(workspace, linked, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(agreed, "make", full)
    with pytest.raises(BadInput) as refused:
        trust.agree(workspace, linked)
    assert "No space left on device" in str(refused.value)
    assert str(linked.readlink()) in str(refused.value)
    assert not record(workspace.root, "m").exists()


def test_settling_makes_a_copy_once_and_again_when_settings_change(workspace, linked, monkeypatch):
    made, real = [], agreed.make
    monkeypatch.setattr(agreed, "make", lambda *arguments: made.append(arguments) or real(*arguments))
    trust.settle(workspace, linked)
    assert made == [], "nobody agreed to anything"
    trust.agree(workspace, linked)
    trust.settle(workspace, linked)
    assert len(made) == 1, "it is fresh"
    owner = agreed.origin(linked)
    (owner / "README.md").write_text("# Another text\n")
    trust.settle(workspace, linked)
    assert len(made) == 2
    assert (linked / "README.md").read_text() == "# Another text\n"
    # An agreement of earlier times, without a copy.
    linked.unlink()
    linked.symlink_to(owner)
    trust.settle(workspace, linked)
    assert len(made) == 3
    assert linked.resolve() != owner


@pytest.mark.parametrize("how", ["changed", "away"])
def test_settling_raises_nothing(workspace, linked, how):
    trust.agree(workspace, linked)
    copy, owner = linked.resolve(), agreed.origin(linked)
    if how == "changed":
        (owner / "modeling_internlm2.py").write_text("import os\n")
    else:
        shutil.rmtree(owner)
    trust.settle(workspace, linked)
    assert linked.resolve() == copy


def test_a_model_that_is_no_link_is_settled_as_it_is(workspace):
    path = write_model(workspace.model("own"))
    trust.agree(workspace, path)
    trust.settle(workspace, path)
    assert not path.is_symlink()


def test_leave_taken_back_takes_the_copy_along(workspace, linked):
    owner = linked.readlink()
    trust.agree(workspace, linked)
    trust.withdraw(workspace, "m")
    assert linked.resolve() == owner
    assert not record(workspace.root, "m").exists()


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
