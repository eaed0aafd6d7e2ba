"""Of a linked model with trusted code a copy is loaded; only the weights are the owner's."""

import itertools
import json
import os
import stat
import time

import pytest

from core.ground.errors import BadInput
from core.ground.files import sha256
from core.ground.tree import tree
from core.models import agreed, trust
from core.models import model as models
from core.models.fingerprint import state_of
from tests.conftest import PATIENCE
from tests.fakes.model import write_model
from tests.fakes.users import STRANGER, as_stranger, needs_root, reachable


@pytest.fixture
def owners(tmp_path):
    """Another user's directory, which may be changed at any time."""
    return write_model(tmp_path / "shared" / "internlm2-x", shards=2)


@pytest.fixture
def linked(workspace, owners):
    path = models.link(workspace, owners, "m").path
    trust.agree(workspace, path)
    return path


def test_only_the_weights_are_the_owner_s(workspace, owners, linked):
    copy = linked.resolve()
    assert workspace.root / "agreed" / "m" in copy.parents
    assert copy.name == owners.name
    assert {path.name for path in copy.iterdir()} == {path.name for path in owners.iterdir()}
    assert {path.name for path in copy.iterdir() if path.is_symlink()} == {
        path.name for path in owners.glob("*.safetensors")
    }
    assert all(path.readlink() == owners / path.name for path in copy.glob("*.safetensors"))
    for path in (workspace.root / "agreed").rglob("*"):
        if not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    # A base model's stored answers depend on its files, wherever they are.
    assert state_of(linked) == state_of(owners)


@pytest.mark.parametrize("file", ["modeling_internlm2.py", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_what_is_changed_after_it_was_looked_at_is_not_what_is_loaded(workspace, owners, linked, file):
    before = (owners / file).read_bytes()
    model = models.usable(workspace, "m")
    (owners / file).write_bytes(before + b" ")
    assert (model.path / file).read_bytes() == before
    (owners / file).unlink()
    os.mkfifo(owners / file)
    assert (model.path / file).read_bytes() == before
    assert model.path == linked


@needs_root
def test_what_another_user_swaps_all_the_time_is_what_was_seen_or_refused(workspace, owners):
    """Between check, copy and load: whatever they try, nothing is used that was not shown."""
    reachable(owners)
    for place in (owners, *owners.rglob("*")):
        os.chown(place, STRANGER, STRANGER)
    path, file = models.link(workspace, owners, "m").path, owners / "modeling_internlm2.py"
    texts = [file.read_bytes(), b"import os\n", b"import sys\n"]

    def swap():
        for turn in itertools.count():
            try:
                file.with_suffix(".new").write_bytes(texts[turn % 3])
                os.replace(file.with_suffix(".new"), file)
            except PermissionError:
                return turn
            time.sleep(0.002)

    taken = refused = 0
    with as_stranger(swap) as swapped:
        deadline = time.monotonic() + PATIENCE
        # On a slow machine nothing may be swapped during many of them, or something during each.
        for attempt in itertools.count():
            if attempt >= 60 and taken and refused:
                break
            assert time.monotonic() < deadline, (taken, refused)
            seen = trust.code(workspace, path).files
            try:
                trust.agree(workspace, path, seen)
            except BadInput:
                refused += 1
                continue
            taken += 1
            assert sha256(path.resolve() / file.name) == seen[file.name]
        owners.chmod(0o555)
        assert swapped() > 10
    assert taken
    assert refused


def test_files_that_are_put_there_later_are_not_there(workspace, owners, linked):
    models.usable(workspace, "m")
    (owners / "adapter_config.json").write_text('{"base_model_name_or_path": "/home/x/evil"}')
    (owners / "evil.py").write_text("")
    assert not (linked / "adapter_config.json").exists()
    assert not (linked / "evil.py").exists()
    with pytest.raises(BadInput):
        models.usable(workspace, "m")


def test_the_code_is_asked_about_again_and_the_copy_stays_until_then(workspace, owners, linked):
    copy, before = linked.resolve(), (owners / "modeling_internlm2.py").read_bytes()
    (owners / "modeling_internlm2.py").write_text("import os\n")
    code = trust.code(workspace, linked)
    assert (code.changed, code.directory) == (("modeling_internlm2.py",), owners)
    with pytest.raises(BadInput, match="models trust m"):
        models.usable(workspace, "m")
    assert linked.resolve() == copy
    assert (linked / "modeling_internlm2.py").read_bytes() == before
    trust.agree(workspace, linked)
    assert (models.usable(workspace, "m").path / "modeling_internlm2.py").read_text() == "import os\n"


def test_settings_that_change_are_copied_anew_once_they_were_checked(workspace, owners, linked):
    config = json.loads((owners / "config.json").read_text())
    (owners / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    assert models.find(workspace, "m").hidden_size == 32
    assert json.loads((linked / "config.json").read_text())["hidden_size"] == 32
    hostile = {"AutoConfig": "/home/x/evil--payload.Config"}
    (owners / "config.json").write_text(json.dumps(config | {"auto_map": hostile}))
    assert models.find(workspace, "m").hidden_size == 32, "nothing of it was taken"
    with pytest.raises(BadInput):
        models.usable(workspace, "m")


def test_a_copy_that_was_written_to_is_asked_about_and_made_anew(workspace, owners, linked):
    before = (owners / "modeling_internlm2.py").read_bytes()
    (linked / "modeling_internlm2.py").write_text("import os\n")
    assert trust.code(workspace, linked).changed == ("modeling_internlm2.py",)
    trust.agree(workspace, linked)
    assert (linked / "modeling_internlm2.py").read_bytes() == before


@pytest.mark.usefixtures("linked")
def test_everywhere_it_goes_by_its_own_name(workspace, owners):
    model = models.find(workspace, "m")
    assert (model.path, model.linked_to) == (workspace.models / "m", owners)
    assert str(workspace.root / "agreed") not in json.dumps(model.to_json())
    assert tree(model.path, linked_to=model.linked_to).splitlines()[0] == f"m -> {owners}"
    assert "model-00001" in tree(model.path, linked_to=model.linked_to)
    assert "agreed" not in tree(model.path, linked_to=model.linked_to)


def test_an_agreement_of_earlier_times_gets_its_copy(workspace, owners, linked):
    """As an earlier version left it: a link, and a record of what was trusted."""
    linked.unlink()
    linked.symlink_to(owners)
    model = models.usable(workspace, "m")
    assert agreed.current(workspace, model.path) is not None
    assert model.linked_to == owners


def test_taken_back_or_unlinked_nothing_is_left(workspace, owners, linked):
    trust.withdraw(workspace, "m")
    assert (linked.resolve(), linked.readlink()) == (owners, owners)
    trust.agree(workspace, linked)
    assert models.unlink(workspace, "m") == owners
    assert not (workspace.root / "agreed" / "m").exists()
    assert (owners / "config.json").is_file()


@pytest.mark.usefixtures("linked")
def test_a_workspace_that_was_moved_keeps_its_copies(workspace, owners):
    there = workspace.root.rename(workspace.root.with_name("moved"))
    assert (there / "models" / "m" / "config.json").is_file()
    assert agreed.origin(there / "models" / "m") == owners


def test_what_cannot_be_read_is_said(workspace, tmp_path):
    owners = write_model(tmp_path / "y")
    path = models.link(workspace, owners, "y").path
    (workspace.root / "agreed").write_text("in the way")
    with pytest.raises(BadInput, match="y"):
        trust.agree(workspace, path)
    assert not trust.code(workspace, path).trusted


def test_a_record_of_the_owner_s_says_nothing(workspace, tmp_path):
    """Next to their own model, as if it were a copy of ours."""
    owners = write_model(tmp_path / "agreed" / "m" / "digest" / "m")
    (owners.parent / "origin.json").write_text(json.dumps({"path": str(tmp_path / "elsewhere"), "files": {}}))
    path = models.link(workspace, owners).path
    assert agreed.origin(path) == owners
    assert agreed.current(workspace, path) is None
    trust.agree(workspace, path)
    assert models.find(workspace, "m").linked_to == owners
