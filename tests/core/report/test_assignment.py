"""The assignment is ticked from facts on disk, in the course's order."""

import shutil

import pytest

from core.engine import checkup, interpreter
from core.ground.files import read_json, write_json
from core.models import model as models
from core.report import writeup
from core.report.assignment import IN_THE_WRITEUP, PAGES, assignment
from core.training.run import Run
from tests.fakes.model import write_model


def done(workspace) -> list[str]:
    return [step.name for step in assignment(workspace).steps if step.done]


def test_nothing_yet(workspace):
    found = assignment(workspace)
    assert [step.name for step in found.steps] == list(PAGES)
    assert found.done == 0
    assert found.next.name == "environment"
    assert [step.name for step in found.missing] == list(IN_THE_WRITEUP)


def test_each_step_as_it_is_done(workspace, config):
    assert done(workspace) == ["model", "dataset", "config"]
    assert {step.name: step.evidence for step in assignment(workspace).steps}["config"] == config.name


def test_the_next_step_leads_on_even_if_one_was_left_out(workspace, config):
    found = assignment(workspace)
    assert not found.steps[0].done
    assert found.next.name == "trained"
    shutil.rmtree(config.path)
    assert assignment(workspace).next.name == "environment"


@pytest.mark.usefixtures("exported_run")
def test_a_step_left_out_comes_last(workspace, monkeypatch):
    bad = checkup.Checkup(time=1.0, loads=[{"ok": False}], cuda={}, xtuner_version="", xtuner_help="")
    monkeypatch.setattr(checkup, "last", lambda *_: bad)
    assert assignment(workspace).next.name == "reported"
    monkeypatch.setattr(writeup, "there", lambda _: True)
    found = assignment(workspace)
    assert (found.next.name, found.done) == ("environment", 8)


def test_a_training_has_checked_the_environment(workspace, finished_run):
    assert done(workspace)[0] == "environment"
    facts = read_json(finished_run.path / "run.json")
    write_json(finished_run.path / "run.json", {**facts, "versions": {**facts["versions"], "xtuner": "0.1"}})
    assert "environment" not in done(workspace)


def test_a_finished_run_and_what_comes_after_it(workspace, exported_run: Run):
    found = assignment(workspace)
    assert found.missing == ()
    assert found.next.name == "reported"
    evidence = {step.name: step.evidence for step in found.steps}
    assert evidence["trained"] == evidence["merged"] == exported_run.id
    assert not evidence["reported"]


def test_a_model_that_waits_for_leave_is_not_ready(workspace, tmp_path):
    models.link(workspace, write_model(tmp_path / "m"))
    assert done(workspace) == []


def test_the_environment_is_done_when_everything_loads(workspace, monkeypatch):
    good = checkup.Checkup(
        time=1.0, loads=[{"module": "torch", "ok": True}], cuda={}, xtuner_version="", xtuner_help=""
    )
    bad = checkup.Checkup(
        time=1.0, loads=[{"module": "torch", "ok": False}], cuda={}, xtuner_version="", xtuner_help=""
    )
    monkeypatch.setattr(checkup, "last", lambda *_: good)
    assert done(workspace) == ["environment"]
    monkeypatch.setattr(checkup, "last", lambda *_: bad)
    assert done(workspace) == []
    monkeypatch.setenv(interpreter.ENVIRONMENT, "/no/such/python")
    monkeypatch.setattr(checkup, "last", lambda *_: good)
    assert done(workspace) == []
