"""What earlier runs took, for the forecast of the next one."""

import pytest

from core.engine.measure import WorkFailed
from core.ground.files import read_json, write_json
from core.training import history
from core.training import run as runs
from tests.conftest import ended
from tests.core.forecast.test_preflight import changed
from tests.fakes.model import PARAMETERS


@pytest.fixture
def facts(monkeypatch):
    """The facts that the engine appears to have measured for every config."""
    given = changed(max_epochs=1, max_iters=None)
    monkeypatch.setattr(history, "config_facts", lambda *_, **__: given)
    return given


@pytest.mark.usefixtures("facts")
def test_nothing(workspace):
    assert history.measured(workspace) == []


@pytest.mark.usefixtures("facts")
def test_finished_run(workspace, finished_run):
    (told,) = history.measured(workspace)
    assert told["run"] == finished_run.id
    assert told["kind"] == [PARAMETERS, True, False, False, True, None]
    assert told["seconds"] == pytest.approx(0.01)
    assert 0 <= told["start_seconds"] <= finished_run.job.seconds
    assert told["predicted_mb"] > 0
    # 50 tokens before training and 96 after 10 iterations and at the end, both questions together.
    left = finished_run.job.seconds - told["start_seconds"] - 10 * told["seconds"]
    assert told["token_seconds"] == pytest.approx(max(0, left) / (50 + 2 * 96))
    assert told["allocated_mb"] is None or told["allocated_mb"] > 0


def test_a_run_that_ended_early_tells_of_what_it_did(workspace, config, fake_engine, monkeypatch):
    monkeypatch.setattr(history, "config_facts", lambda *_, **__: changed(max_epochs=4, max_iters=None))
    fake_engine("ok", iters=40, seconds=0.02)
    run = runs.start(workspace, config.name, early_stop=True)
    ended(run.job)
    assert run.learned.stopped_at == 16
    write_json(run.path / "early_stop.json", read_json(run.path / "early_stop.json") | {"look_seconds": 0.1})
    (told,) = history.measured(workspace)
    # 16 of 40 iterations, and the tokens of as many evaluations as 40 have.
    left = run.job.seconds - told["start_seconds"] - 16 * told["seconds"] - 0.1
    assert told["token_seconds"] == pytest.approx(max(0, left) / (16 / 40 * (50 + 5 * 96)))


@pytest.mark.usefixtures("facts")
def test_a_run_with_deepspeed_is_of_another_kind(workspace, finished_run):
    write_json(finished_run.path / "run.json", finished_run.facts.to_json() | {"deepspeed": "deepspeed_zero3"})
    (told,) = history.measured(workspace)
    assert told["kind"][-1] == "deepspeed_zero3"


@pytest.mark.usefixtures("failed_run", "facts")
def test_failed_runs_tell_nothing(workspace):
    assert len(runs.every(workspace)) == 1
    assert history.measured(workspace) == []


@pytest.mark.usefixtures("finished_run")
def test_a_run_whose_config_cannot_be_read_tells_nothing(workspace, monkeypatch):
    def refuse(*_, **__):
        raise WorkFailed("读不出", "cannot be read")

    monkeypatch.setattr(history, "config_facts", refuse)
    assert history.measured(workspace) == []


@pytest.mark.usefixtures("facts")
def test_as_many_as_are_looked_at(workspace, config, fake_engine):
    fake_engine("ok", iters=4)
    for _ in range(2):
        ended(runs.start(workspace, config.name).job)
    newest = runs.every(workspace)[0].id
    assert [told["run"] for told in history.measured(workspace)][:1] == [newest]


def test_the_newest_run_that_can_be_compared_is_the_one_that_is_measured(workspace, config, fake_engine, monkeypatch):
    asked = []

    def ask(_workspace, path, *_, ask):
        asked.append((path.parent.name, ask))
        return changed(max_epochs=1, max_iters=None)

    monkeypatch.setattr(history, "config_facts", ask)
    fake_engine("ok", iters=4)
    alone = runs.start(workspace, config.name)
    ended(alone.job)
    several = runs.start(workspace, config.name)
    ended(several.job)
    record = several.path / "run.json"
    written = several.facts.to_json()
    write_json(record, written | {"cluster": written["cluster"] | {"nnodes": 2}})
    assert [told["run"] for told in history.measured(workspace)] == [alone.id]
    assert asked == [(alone.id, True)]
