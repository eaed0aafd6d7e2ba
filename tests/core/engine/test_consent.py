"""A config's Python is executed only if it was written here or trusted."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from core.chat.diagnosis import Diagnosis, next_config
from core.config import config as configs
from core.config import exchange, own_recipe
from core.config.check import AGREEMENT
from core.config.check import check as check_config
from core.engine import consent, measure
from core.engine.presets import COURSE_PRESET, preset_text
from core.forecast.preflight import preflight
from core.ground.errors import BadInput
from core.ground.files import read_json, write_json
from core.ground.text import Text
from core.training import history
from core.training import run as runs
from tests.fakes.users import STRANGER, needs_root, reachable, stranger


@pytest.fixture
def marker(tmp_path):
    """The file that a malicious line creates."""
    return tmp_path / "ran"


@pytest.fixture
def hostile(workspace, config, marker):
    """A config from elsewhere with a line that writes a file."""
    text = config.text() + f"\nopen({str(marker)!r}, 'w').close()\n"
    return exchange.take(workspace, "theirs.py", text)


def known(workspace, config):
    return consent.agreed(workspace, configs.find(workspace, config.name).text())


def test_nothing_of_it_is_executed_before_it_was_agreed_to(workspace, hostile, marker, monkeypatch):
    assert [problem.where for problem in check_config(workspace, hostile)] == [AGREEMENT]
    assert [problem.where for problem in preflight(workspace, hostile).problems] == [AGREEMENT]
    for execute in (
        lambda: measure.config_facts(workspace, hostile.file, "0" * 64),
        lambda: measure.built(workspace, [hostile.file]),
        lambda: runs.start(workspace, hostile.name),
    ):
        with pytest.raises(BadInput) as refused:
            execute()
        assert str(hostile.file) in refused.value.text.en
        assert "--agree" in refused.value.text.en
        assert "--agree" in refused.value.text.zh
    assert not marker.exists()
    assert runs.every(workspace) == []
    assert [line.text for line in consent.beyond_settings(hostile.text(), COURSE_PRESET)] == [
        f"open({str(marker)!r}, 'w').close()"
    ]
    # The engine's own mmengine, called in the same way, would execute it.
    consent.agree(workspace, hostile.text())
    monkeypatch.setattr(measure, "_VERSION", "of this test")
    measure.built(workspace, [hostile.file])
    assert marker.exists()
    assert check_config(workspace, hostile) == []


@needs_root
def test_another_user_s_config_runs_by_our_word_alone(workspace, config, marker, tmp_path):
    """Another user may give us a file and change it, but can neither change the imported copy nor agree for us."""
    reachable(tmp_path)
    theirs = tmp_path / "shared" / "course.py"
    theirs.parent.mkdir()
    os.chown(theirs.parent, STRANGER, STRANGER)
    text = config.text() + f"\nopen({str(marker)!r}, 'w').close()\n"
    stranger(lambda: theirs.write_text(text))
    taken = exchange.take(workspace, theirs.name, theirs.read_text(), beside=theirs.parent)
    assert [problem.where for problem in check_config(workspace, taken)] == [AGREEMENT]
    word, record = hashlib.sha256(text.encode()).hexdigest(), workspace.settings / "agreed_configs.txt"

    def tries() -> int:
        refused = 0
        for file, line in ((record, word), (taken.file, "import os"), (workspace.settings / "engine.json", "{}")):
            try:
                file.open("a").write(f"{line}\n")
            except PermissionError:
                refused += 1
        theirs.write_text("import os\n")
        return refused

    assert stranger(tries) == 3
    with pytest.raises(BadInput, match="--agree"):
        measure.built(workspace, [taken.file])
    consent.agree(workspace, text)
    assert check_config(workspace, taken) == []
    assert not marker.exists()


def test_no_other_file_is_executed_with_it(workspace, config, marker, tmp_path):
    """That file belongs to its owner, who may change it after the text that names it was trusted."""
    base = tmp_path / "base.py"
    base.write_text("lr = 1e-4\n")
    old, new = f"_base_ = [{str(base)!r}]\n", "with read_base():\n    from .....tmp.base import *\n"
    for line in (old, new):
        text = line + config.text()
        with pytest.raises(BadInput):
            exchange.take(workspace, "theirs.py", text)
        config.file.write_text(text, encoding="utf-8")
        consent.agree(workspace, text)
        base.write_text(f"open({str(marker)!r}, 'w').close()\n")
        assert [problem.where for problem in check_config(workspace, config)] == ["config.py"]
        for execute in (lambda: measure.built(workspace, [config.file]), lambda: runs.start(workspace, config.name)):
            with pytest.raises(BadInput, match="base"):
                execute()
    assert not marker.exists()
    # mmengine only looks at the name and would execute it.
    place = tmp_path / "old.py"
    place.write_text(f"{old}lr = 2e-4\n")
    load = f"from mmengine.config import Config; Config.fromfile({str(place)!r})"
    subprocess.run([sys.executable, "-c", load], check=True)
    assert marker.exists()


def test_an_agreement_is_for_the_text_as_it_was(workspace, hostile):
    consent.agree(workspace, hostile.text())
    assert known(workspace, hostile)
    hostile.file.write_text(hostile.text() + "# and more\n", encoding="utf-8")
    assert not known(workspace, hostile)
    record = workspace.settings / "agreed_configs.txt"
    assert record.stat().st_mode & 0o777 == 0o600
    assert hostile.text() not in record.read_text()


def test_what_is_measured_is_the_text_that_was_looked_at(workspace, config, marker, monkeypatch):
    """Another user replaces the file before the engine opens it."""
    text, opened = config.text(), []

    def swapped(argv, **_):
        config.file.write_text(f"open({str(marker)!r}, 'w')\n", encoding="utf-8")
        place = argv[argv.index("--config") + 1]
        opened.append(open(place, encoding="utf-8").read())
        assert str(config.file) not in argv
        return measure_answer

    measure_answer = type("Answer", (), {"content": None, "late": False, "said": "x"})
    monkeypatch.setattr(measure, "answer_of", swapped)
    with pytest.raises(measure.WorkFailed):
        measure.config_facts(workspace, config.file, "0" * 64)
    assert opened == [text]


@pytest.mark.usefixtures("fake_engine")
def test_a_training_executes_its_own_copy_of_what_was_agreed_to(workspace, config, monkeypatch):
    text = config.text()
    run = runs.start(workspace, config.name)
    config.file.write_text("import os\n", encoding="utf-8")
    assert run.config.read_text(encoding="utf-8") == text
    assert str(run.config) in run.job.spec["argv"]
    assert str(config.file) not in run.job.spec["argv"]
    run.stop(discard=True)
    # Swapped after all checks, before it is copied.
    config.file.write_text(text, encoding="utf-8")

    def checked(*_):
        config.file.write_text(text + "import os\n", encoding="utf-8")
        return []

    monkeypatch.setattr(runs, "before_start", checked)
    with pytest.raises(BadInput, match="--agree"):
        runs.start(workspace, config.name)
    assert [one.id for one in runs.every(workspace)] == [run.id]


def test_a_run_whose_config_was_changed_outside_is_not_resumed(workspace, failed_run):
    failed_run.config.write_text(failed_run.config.read_text() + "import os\n")
    with pytest.raises(BadInput, match="--agree"):
        runs.resume(workspace, failed_run)
    consent.agree(workspace, failed_run.config.read_text())
    assert runs.resume(workspace, failed_run).job.name == "train-2"


def test_a_run_whose_config_was_changed_outside_is_not_measured(workspace, finished_run, marker):
    changed = finished_run.config.read_text() + f"open({str(marker)!r}, 'w')\n"
    finished_run.config.write_text(changed)
    assert history.measured(workspace) == []
    assert not marker.exists()


@pytest.mark.usefixtures("small_model", "dataset")
@pytest.mark.parametrize("recipe", ["fast", "course"])
def test_what_is_made_here_is_never_asked_about(workspace, tmp_path, recipe):
    made = configs.make(workspace, model="demo", dataset="assistant", recipe=recipe, name="made", settings={"lr": 1e-3})
    assert known(workspace, made)
    assert check_config(workspace, made) == []
    configs.change(workspace, "made", {"lr": 2e-3, "SYSTEM": "你好"})
    assert known(workspace, made)
    configs.replace_text(workspace, "made", made.text() + "\nfor n in range(3):\n    lr = lr * 0.5\n", typed=True)
    assert known(workspace, made), "typed in the app's own editor"
    configs.step(workspace, "made", -1)
    assert known(workspace, made)
    assert known(workspace, configs.save_as(workspace, "made", "copied"))
    own_recipe.save(workspace, "mine", preset=made.facts["preset"], text=made.text(), base=made.base_text())
    assert known(workspace, configs.make(workspace, model="demo", dataset="assistant", recipe="mine", name="again"))
    # XTuner's own preset, as copied by `xtuner copy-cfg`.
    copied = exchange.copy_preset(workspace, COURSE_PRESET, tmp_path)
    taken = exchange.take(workspace, copied.name, copied.read_text(), model="demo", dataset="assistant")
    assert known(workspace, taken)
    # Exported from here and imported again.
    gone = exchange.export(workspace, "made", tmp_path / "out.py")
    assert known(workspace, exchange.take(workspace, "back.py", gone.read_text()))


def test_what_a_diagnosis_advises_is_what_the_run_had(workspace, finished_run):
    found = Diagnosis(verdict="learned", words=Text("", ""), next_step=Text("", ""), changes={"lr": 0.5})
    assert known(workspace, next_config(workspace, finished_run, found))
    finished_run.config.write_text(finished_run.config.read_text() + "import os\n")
    assert not known(workspace, next_config(workspace, finished_run, found))


def test_what_comes_from_elsewhere_is_asked_about(workspace, config, hostile):
    assert not known(workspace, hostile)
    configs.change(workspace, hostile.name, {"lr": 2e-3})
    assert not known(workspace, hostile)
    configs.replace_text(workspace, hostile.name, hostile.text() + "# seen\n", typed=True)
    assert not known(workspace, hostile), "the rest of it is still nobody's"
    assert not known(workspace, configs.save_as(workspace, hostile.name, "copied"))
    # Even if every line is a setting: these decide what is loaded.
    assert not known(workspace, exchange.take(workspace, "quiet.py", config.text() + "# a word\n"))
    shared = {**own_recipe_file(workspace, config), "name": "shared", "text": hostile.text()}
    own_recipe.take(workspace, json.dumps(shared))
    made = configs.make(workspace, model="demo", dataset="assistant", recipe="shared", name="of-shared")
    assert not known(workspace, made)
    config.file.write_text(config.text() + "# by another program\n", encoding="utf-8")
    assert not known(workspace, config)


def own_recipe_file(workspace, config):
    return own_recipe.save(
        workspace, "kept", preset=config.facts["preset"], text=config.text(), base=config.base_text()
    ).to_json()


def test_a_recipe_of_a_config_from_elsewhere_is_from_elsewhere(workspace, hostile):
    own_recipe.save(workspace, "theirs", preset=COURSE_PRESET, text=hostile.text(), base=hostile.base_text())
    made = configs.make(workspace, model="demo", dataset="assistant", recipe="theirs", name="of-theirs")
    assert not known(workspace, made)


def test_in_an_older_workspace_what_it_made_itself_is_known(workspace, config, hostile, fake_engine):
    """Such a workspace has no record: judged by how the text was created and what it does."""
    typed = configs.save_as(workspace, config.name, "typed")
    configs.replace_text(workspace, "typed", typed.text() + "\nfor n in range(3):\n    pass\n", typed=True)
    changed = configs.save_as(workspace, "typed", "changed")
    configs.replace_text(workspace, "changed", changed.text() + "\nx = 1\n", typed=True)
    changed.file.write_text(changed.text() + "import os\n", encoding="utf-8")
    outside = configs.save_as(workspace, config.name, "outside")
    outside.file.write_text(outside.text() + "import os\n", encoding="utf-8")
    exchange.take(workspace, "quiet.py", config.text() + "# a word\n")
    trained = exchange.take(workspace, "trained.py", config.text() + "# two words\n")
    consent.agree(workspace, trained.text())
    fake_engine("ok")
    runs.start(workspace, trained.name)
    own_recipe_file(workspace, config)
    recipe = workspace.recipe("bad")
    write_json(recipe, {**read_json(workspace.recipe("kept")), "text": config.text() + "import os\n"})
    (workspace.settings / "agreed_configs.txt").unlink()
    assert {made.name: known(workspace, made) for made in configs.every(workspace)} == {
        config.name: True,
        "typed": True,
        "trained": True,
        "changed": False,
        "outside": False,
        "quiet": False,
        hostile.name: False,
    }
    assert known(workspace, configs.make(workspace, model="demo", dataset="assistant", recipe="kept", name="k"))
    assert not known(workspace, configs.make(workspace, model="demo", dataset="assistant", recipe="bad", name="b"))


def test_the_older_workspace_is_looked_at_once(workspace, config):
    """What is added later is not taken for its own."""
    assert known(workspace, config)
    shutil.copytree(config.path, workspace.config("late"))
    late = configs.find(workspace, "late")
    late.file.write_text(preset_text(COURSE_PRESET), encoding="utf-8")
    assert not known(workspace, late)
