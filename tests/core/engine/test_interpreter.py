"""The engine in another Python: found, checked, used by every engine process; and the messages if it is unsuitable."""

import json
import os
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from core import demo
from core.engine import checkup, interpreter
from core.engine.cluster import Cluster
from core.engine.commands import engine_command, engine_environment, module_command, train_command
from core.engine.presets import preset_text, presets
from core.ground.errors import BadInput, WorkFailed
from core.ground.files import write_json
from core.jobs.job import Status
from core.training import run as runs
from tests.conftest import PATIENCE, ended
from tests.core.models.hub.closed import close
from tests.fakes.users import STRANGER, needs_root


@pytest.fixture(scope="module")
def another_python(tmp_path_factory) -> str:
    """A virtual environment that can import the packages of this one."""
    place = tmp_path_factory.mktemp("engines") / "my env"
    venv.create(place, symlinks=True)
    (site,) = place.glob("lib/python3*/site-packages")
    (site / "shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return str(place / "bin" / "python")


@pytest.fixture
def fake_python(tmp_path):
    """A program that answers like an interpreter with the given facts."""

    def make(name: str = "python", **facts) -> str:
        place = tmp_path / name / "bin" / "python"
        place.parent.mkdir(parents=True)
        found = {"versions": {"xtuner": "0.2.0", "torch": "2.5.1"}, "xtuner": str(tmp_path), "torch_cuda": None, "site": str(tmp_path)}  # fmt: skip
        found = json.dumps({**found, "prefix": str(tmp_path), **facts})
        place.write_text(f"#!{sys.executable}\nimport sys\nopen(sys.argv[2], 'w').write({found!r})\n")
        place.chmod(0o755)
        return str(place)

    return make


@pytest.fixture(autouse=True)
def no_engine_of_the_machine(monkeypatch):
    monkeypatch.delenv(interpreter.ENVIRONMENT, raising=False)


def test_without_a_choice_it_is_ours(workspace):
    engine = interpreter.in_use(workspace)
    assert (engine.python, engine.own) == (sys.executable, True)
    assert engine.versions["xtuner"] == "0.2.0"
    assert engine.xtuner.name == "xtuner"
    assert engine.torch_cuda == "12.4"
    assert interpreter.versions(workspace)["streamlit"]


def test_every_engine_process_runs_in_the_chosen_one(workspace, another_python):
    engine = interpreter.candidate(workspace, Path(another_python).parents[1])
    assert engine.python == another_python
    interpreter.use(workspace, engine)
    assert interpreter.in_use(workspace).python == another_python
    assert engine_command(workspace, "core.engine.workers.chat_worker", "x")[0] == another_python
    for cluster in (Cluster(), Cluster(nproc=2)):
        assert train_command(workspace, Path("c.py"), Path("w"), cluster=cluster)[0] == another_python
    assert module_command("core", "demo")[0] == sys.executable
    assert engine_environment(workspace)["PATH"].split(os.pathsep)[0] == os.path.dirname(another_python)
    assert interpreter.versions(workspace)["python"] == engine.versions["python"]
    interpreter.use(workspace, interpreter.candidate(workspace, "own"))
    assert interpreter.python(workspace) == sys.executable


def test_a_training_runs_in_the_chosen_one(workspace, another_python, config, fake_engine):
    """The training process really is that interpreter, and run.json records its packages."""
    interpreter.use(workspace, interpreter.candidate(workspace, another_python))
    fake_engine("ok")
    run = runs.start(workspace, config.name)
    assert run.job.spec["argv"][0] == another_python
    assert ended(run.job) is Status.FINISHED, run.job.log_tail()
    assert run.facts.versions["xtuner"] == "0.2.0"
    with demo._own_engine():
        assert interpreter.python(workspace) == sys.executable
    assert interpreter.python(workspace) == another_python


def test_the_thorough_check_is_a_job_in_it(workspace, fake_python):
    """The job selects the engine once everything loads, without the page."""
    chosen = fake_python(**LOADED)
    job = checkup.start(workspace, interpreter.candidate(workspace, chosen), adopted=True)
    assert ended(job) is Status.FINISHED, job.log_tail()
    assert interpreter.python(workspace) == chosen


def test_the_environment_goes_before_the_choice(workspace, another_python, fake_python, monkeypatch):
    interpreter.use(workspace, interpreter.candidate(workspace, fake_python()))
    monkeypatch.setenv(interpreter.ENVIRONMENT, another_python)
    assert interpreter.python(workspace) == another_python
    assert interpreter.chosen_by_environment()


def test_an_engine_that_is_gone_is_named(workspace, fake_python):
    chosen = fake_python()
    interpreter.use(workspace, interpreter.candidate(workspace, chosen))
    Path(chosen).unlink()
    for call in (interpreter.in_use, interpreter.python, interpreter.xtuner_directory, engine_environment):
        with pytest.raises(BadInput) as refused:
            call(workspace)
        assert chosen in str(refused.value)
        assert "engine use" in str(refused.value)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"versions": {"xtuner": None, "torch": "2.5.1"}}, "xtuner"),
        ({"versions": {"xtuner": "0.1.20", "torch": "2.1.2"}}, "0.1.21"),
        ({"versions": {"xtuner": "1.0.0", "torch": "2.9.0"}}, "1.x"),
        ({"versions": {"xtuner": "0.2.0", "torch": None}}, "torch"),
    ],
)
def test_an_engine_that_will_not_do(workspace, fake_python, facts, words):
    chosen = fake_python(**facts)
    with pytest.raises(BadInput) as refused:
        interpreter.candidate(workspace, chosen)
    assert words in str(refused.value)
    assert chosen in str(refused.value)
    assert interpreter.python(workspace) == sys.executable


@pytest.mark.parametrize("version", ["0.1.21", "0.1.23", "0.2.0", "0.2.0rc0", "0.1.21+local"])
def test_versions_that_will_do(workspace, fake_python, version):
    assert interpreter.candidate(workspace, fake_python(versions={"xtuner": version, "torch": "2.1.2"})).python


@pytest.mark.parametrize("entered", ["", "  ", "/no/such/python", "/bin/true", "/etc/passwd", "/tmp"])
def test_what_is_no_python(workspace, entered):
    with pytest.raises(BadInput) as refused:
        interpreter.candidate(workspace, entered)
    assert entered.strip() in str(refused.value)
    assert not (workspace.settings / "engine.json").exists()


def test_it_is_asked_again_when_its_packages_change(workspace, fake_python, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    chosen = fake_python(site=str(site))
    before = interpreter.candidate(workspace, chosen)
    Path(chosen).write_text(Path(chosen).read_text().replace("2.5.1", "2.4.0"))
    assert interpreter.look(workspace, chosen) == before
    (site / "new_package").mkdir()
    os.utime(site, ns=(1, 1))
    assert interpreter.look(workspace, chosen).versions["torch"] == "2.4.0"


def test_presets_are_those_of_the_engine(workspace, fake_python, tmp_path):
    (tmp_path / "configs" / "mine").mkdir(parents=True)
    (tmp_path / "configs" / "mine" / "only_here.py").write_text("lr = 1\n")
    interpreter.use(workspace, interpreter.candidate(workspace, fake_python()))
    directory = interpreter.xtuner_directory(workspace)
    assert list(presets(directory)) == ["only_here"]
    assert preset_text("only_here", directory) == "lr = 1\n"
    with pytest.raises(BadInput):
        preset_text("internlm2_chat_1_8b_qlora_alpaca_e3", directory)


def test_environments_of_the_machine_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, package in (("with", "xtuner-0.1.21.dist-info"), ("without", "torch-2.1.2.dist-info")):
        place = tmp_path / "miniconda3" / "envs" / name
        (place / "lib" / "python3.10" / "site-packages" / package).mkdir(parents=True)
        (place / "bin").mkdir()
        (place / "bin" / "python").write_text("")
    assert [path for path in interpreter.nearby() if path.startswith(str(tmp_path))] == [
        str(tmp_path / "miniconda3" / "envs" / "with" / "bin" / "python")
    ]


def test_environments_of_another_user_are_passed_over(tmp_path, monkeypatch, workspace):
    monkeypatch.setenv("HOME", str(tmp_path))
    theirs = tmp_path / "theirs"
    (theirs / "envs" / "x" / "bin").mkdir(parents=True)
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda" / "environments.txt").write_text(f"{theirs / 'envs' / 'x'}\n")
    (tmp_path / "miniconda3").symlink_to(theirs)
    close(monkeypatch, theirs)
    close(monkeypatch, tmp_path / "miniconda3")
    assert not [path for path in interpreter.nearby() if path.startswith(str(tmp_path))]
    with pytest.raises(BadInput):
        interpreter.candidate(workspace, theirs / "envs" / "x")


@pytest.fixture
def asked_python(tmp_path) -> Path:
    """An environment whose interpreter leaves a mark when it is run."""
    root = tmp_path / "env"
    (root / "lib" / "python3.10" / "site-packages" / "xtuner-0.2.0.dist-info").mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (root / "bin" / "python").write_text(f"#!/bin/sh\ntouch '{tmp_path / 'ran'}'\nexit 3\n")
    (root / "bin" / "python").chmod(0o755)
    return root


@pytest.mark.parametrize(
    "part", ["bin/python", "bin", ".", "pyvenv.cfg", "lib/python3.10", "lib/python3.10/site-packages"]
)
def test_one_that_others_can_write_to_is_never_run(workspace, asked_python, tmp_path, monkeypatch, part):
    chosen, exposed = asked_python / "bin" / "python", asked_python / part
    exposed.chmod(exposed.stat().st_mode | 0o022)
    refusals = []
    with pytest.raises(BadInput) as refused:
        interpreter.candidate(workspace, asked_python)
    refusals.append(refused.value)
    write_json(workspace.settings / "engine.json", {"python": str(chosen)})
    for _ in ("settings", "environment"):
        for call in (interpreter.python, interpreter.in_use, engine_environment, interpreter.xtuner_directory):
            with pytest.raises(BadInput) as refused:
                call(workspace)
            refusals.append(refused.value)
        (workspace.settings / "engine.json").unlink(missing_ok=True)
        monkeypatch.setenv(interpreter.ENVIRONMENT, str(asked_python))
    for refusal in refusals:
        assert f"chmod go-w {exposed.resolve()}" in refusal.text.en
        assert f"chmod go-w {exposed.resolve()}" in refusal.text.zh
        assert str(chosen) in refusal.text.en
    assert not (tmp_path / "ran").exists()
    # Once that is fixed, it is asked.
    exposed.chmod(exposed.stat().st_mode & ~0o022)
    with pytest.raises(BadInput) as refused:
        interpreter.candidate(workspace, asked_python)
    assert "exit code 3" in str(refused.value)
    assert (tmp_path / "ran").exists()


@needs_root
def test_another_users_environment_is_neither_offered_nor_run(workspace, asked_python, tmp_path, monkeypatch):
    """Another user must not be able to make the app run their interpreter."""
    (tmp_path / "miniconda3" / "envs").mkdir(parents=True)
    (tmp_path / "miniconda3" / "envs" / "theirs").symlink_to(asked_python)
    monkeypatch.setenv("HOME", str(tmp_path))
    offered = str(tmp_path / "miniconda3" / "envs" / "theirs" / "bin" / "python")
    assert offered in interpreter.nearby()
    for path in (asked_python, *asked_python.rglob("*")):
        os.chown(path, STRANGER, STRANGER)
    assert offered not in interpreter.nearby()
    with pytest.raises(BadInput) as refused:
        interpreter.candidate(workspace, offered)
    assert str(STRANGER) in str(refused.value)
    assert not (tmp_path / "ran").exists()


def test_one_that_did_not_answer_is_not_asked_by_every_page(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter, "REFUSED_SECONDS", PATIENCE)
    asked = tmp_path / "asked"
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho x >> '{asked}'\nexit 3\n")
    program.chmod(0o755)
    for _ in range(3):
        with pytest.raises(BadInput) as refused:
            interpreter.look(workspace, str(program))
        assert "exit code 3" in str(refused.value)
    assert asked.read_text() == "x\n"
    # If the user selects it again, it may have been fixed.
    with pytest.raises(BadInput):
        interpreter.candidate(workspace, program)
    assert asked.read_text() == "x\nx\n"


LOADED = {
    "time": 1.0,
    "loads": [{"module": "torch", "ok": True, "seconds": 1.0, "error": None}],
    "cuda": {"available": False, "devices": [], "error": None},
    "xtuner_version": "0.2.0",
    "xtuner_help": "xtuner MODE",
}


def test_the_thorough_check_is_kept_and_decides(workspace, fake_python):
    engine = interpreter.candidate(workspace, fake_python(**LOADED))
    assert checkup.last(workspace, engine) is None
    assert checkup.adopt(workspace, engine).xtuner_version == "0.2.0"
    assert checkup.last(workspace, engine).xtuner_help == "xtuner MODE"
    assert interpreter.python(workspace) == engine.python


def test_an_engine_that_does_not_load_is_not_taken(workspace, fake_python):
    broken = [{"module": "peft", "ok": False, "seconds": 1.0, "error": "ImportError: EncoderDecoderCache"}]
    engine = interpreter.candidate(workspace, fake_python(**{**LOADED, "loads": broken}))
    with pytest.raises(BadInput) as refused:
        checkup.adopt(workspace, engine)
    assert "EncoderDecoderCache" in str(refused.value)
    assert interpreter.python(workspace) == sys.executable
    assert checkup.last(workspace, engine).failed == broken


def test_a_check_that_dies_says_so(workspace, fake_python):
    engine = interpreter.candidate(workspace, fake_python())
    Path(engine.python).write_text(f"#!{sys.executable}\nimport sys; sys.exit('out of memory')\n")
    with pytest.raises(WorkFailed) as failed:
        checkup.run(workspace, engine)
    assert "out of memory" in str(failed.value)
