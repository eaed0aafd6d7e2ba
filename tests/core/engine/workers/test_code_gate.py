"""A model's code is loaded in an engine process only if trusted, whatever a config or a directory says."""

import json
import os
import subprocess
import sys

import pytest

from core.engine.commands import engine_environment
from core.ground.inherited import inherited
from core.models import model as models
from core.models import trust
from tests.fakes.model import write_model
from tests.fakes.users import STRANGER, reachable, stranger

# Each directory is loaded with its own config.json and the caller's arguments, as in XTuner's configs.
LOAD = """
import json, os, sys
os.environ["USE_TORCH"] = "0"
from core.engine.workers import code_gate
code_gate.close()
code_gate.close()
from transformers import AutoConfig
said = {}
for path in sys.argv[1:]:
    try:
        said[os.path.basename(path)] = type(AutoConfig.from_pretrained(path, trust_remote_code=True)).__name__
    except Exception as error:
        said[os.path.basename(path)] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""
CODE = """
from pathlib import Path
from transformers import PretrainedConfig
Path({marker!r}).touch()
class {name}(PretrainedConfig):
    model_type = "internlm2"
"""


@pytest.fixture
def written(tmp_path):
    """Write a model whose code creates a file when it is executed."""

    def write(name: str, place=None):
        directory = write_model(place or tmp_path / "shared" / name)
        put(directory, tmp_path / f"{name}.ran")
        return directory

    return write


def put(directory, marker, kind="InternLM2Config", module="configuration_internlm2"):
    (directory / f"{module}.py").write_text(CODE.format(marker=str(marker), name=kind))


def by_their_owner(owners, work):
    """Run `work` as the models' owner: another user of this machine, if the tests run as root."""
    if os.geteuid() != 0:
        return work()
    for directory in owners:
        reachable(directory)
        for place in (directory, *directory.rglob("*")):
            os.chown(place, STRANGER, STRANGER)
    return stranger(work)


def test_only_what_was_agreed_to_is_run(workspace, tmp_path, written):
    names = ("asked", "agreed", "swapped", "renamed", "bare", "tampered")
    owners = {name: written(name) for name in names}
    bare = json.loads((owners["bare"] / "config.json").read_text())
    (owners["bare"] / "config.json").write_text(json.dumps({**bare, "auto_map": {}}))
    linked = {name: models.link(workspace, owners[name]).path for name in names}
    for name in ("agreed", "swapped", "renamed", "tampered"):
        trust.agree(workspace, linked[name])
        assert models.usable(workspace, name).whole
    # And now, after everything was checked:
    other = {**bare, "auto_map": {"AutoConfig": "evil.Evil"}}

    def swap():
        put(owners["swapped"], tmp_path / "evil.ran")
        put(owners["renamed"], tmp_path / "evil.ran", "Evil", "evil")
        (owners["renamed"] / "config.json").write_text(json.dumps(other))
        (owners["bare"] / "config.json").write_text(json.dumps(bare))

    by_their_owner(owners.values(), swap)
    put(linked["tampered"].resolve(), tmp_path / "evil.ran")
    # A model of the workspace itself that is not trusted, and one that is.
    own = written("own", workspace.models / "own")
    kept = written("kept", workspace.models / "kept")
    trust.agree(workspace, kept)
    # What an export has written; and the owner's directory under its own name.
    merged = written("merged", workspace.runs / "x" / "merged")
    loaded = [*linked.values(), own, kept, merged]
    output = subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, loaded)],
        env=inherited(engine_environment(workspace)), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    said = json.loads(output)
    assert {name for name, what in said.items() if what == "InternLM2Config"} == {
        "agreed", "swapped", "renamed", "kept", "merged",
    }  # fmt: skip
    for name in ("asked", "bare", "tampered", "own"):
        assert "was not agreed to" in said[name], said
    ran = {path.stem for path in tmp_path.glob("*.ran")}
    assert ran == {"agreed", "swapped", "renamed", "kept", "merged"}, "the agreed code of each, and nothing else"


def test_without_a_workspace_nothing_is(tmp_path, written):
    env = inherited({"PYTHONPATH": str(models.DIALOGUES.parents[2]), "HF_HOME": str(tmp_path / "cache")})
    env.pop("XTUNER_STUDIO_WORKSPACE", None)
    found = subprocess.run(
        [sys.executable, "-c", LOAD, str(written("m"))], env=env, capture_output=True, text=True, check=True
    )
    assert "was not agreed to" in json.loads(found.stdout)["m"]
    assert not list(tmp_path.glob("*.ran"))


# As `datasets` does it up to release 3: the script is copied into a package below its cache, and imported.
SCRIPT = """
import importlib, json, sys
from core.engine.workers import code_gate
sys.path.append(sys.argv[1])
said = []
for close in (lambda: None, code_gate.close):
    close()
    sys.modules.pop("datasets_modules.datasets.rows.abc.rows", None)
    try:
        importlib.import_module("datasets_modules.datasets.rows.abc.rows")
        said.append("executed")
    except ValueError as error:
        said.append(str(error))
from datasets import load_dataset
said.append(load_dataset("json", data_files={"train": sys.argv[2]})["train"][0]["input"])
print(json.dumps(said))
"""


def test_the_script_of_a_dataset_is_not_run(tmp_path):
    """The config that names it was agreed to, and says `trust_remote_code=True`; its script changes by itself."""
    package = tmp_path / "modules" / "datasets_modules" / "datasets" / "rows" / "abc"
    package.mkdir(parents=True)
    (package / "rows.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write('x')\n")
    rows = tmp_path / "rows.json"
    rows.write_text('[{"input": "你好"}]', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "modules"), str(rows)],
        env={**inherited(), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "USE_TORCH": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before, after, read = json.loads(done.stdout)
    assert before == "executed"
    assert "script of a dataset is not executed" in after
    assert (tmp_path / "ran").read_text() == "x", "the first time alone"
    assert read == "你好"
