"""Of many runs the one that matters is shown first, those that never began are hidden, and each has a unique name."""

import time
from dataclasses import replace

from core.ground.files import write_json
from core.jobs.job import Status, wait_until
from core.training import run as runs
from core.training import shelf
from core.training.shown import foremost, titles, worth_a_look
from tests.conftest import PATIENCE


def first(workspace):
    return foremost(workspace, [run for run in runs.every(workspace) if worth_a_look(run)])


def test_the_one_that_trains_then_the_newest_with_a_checkpoint(workspace, config, finished_run, fake_engine):
    assert first(workspace) == finished_run
    fake_engine("exit0_without_checkpoint")
    empty = runs.start(workspace, config.name)
    assert wait_until(lambda: not empty.job.status().live, PATIENCE)
    assert first(workspace) == finished_run, "a newer one with nothing to go on with comes after it"
    fake_engine("import")
    training = runs.start(workspace, config.name)
    waiting = runs.start(workspace, config.name)
    assert first(workspace) == training
    waiting.stop(discard=True)
    training.stop(discard=True)
    assert first(workspace) == finished_run
    assert not waiting.begun
    assert worth_a_look(training)
    assert worth_a_look(empty)
    assert not worth_a_look(waiting), "it was taken out of the queue before its turn"


def test_of_runs_without_a_checkpoint_the_newest(workspace, config, fake_engine):
    assert first(workspace) is None
    fake_engine("exit0_without_checkpoint")
    for _ in range(2):
        newest = runs.start(workspace, config.name)
        assert wait_until(lambda run=newest: not run.job.status().live, PATIENCE)
    assert first(workspace) == newest


def named(run, **facts):
    return replace(run, id=facts.pop("id", run.id), facts=replace(run.facts, **facts))


def test_titles(failed_run):
    now = time.localtime()
    at = time.mktime((*now[:3], 15, 18, 0, 0, 0, -1))
    run = named(failed_run, created=at, serial=3)
    (title,) = titles([run]).values()
    assert (title.zh, title.en) == ("小明 · 第 3 次 · 15:18", "小明 · run 3 · 15:18")
    long_ago = named(run, created=time.mktime((2025, 3, 4, 9, 5, 0, 0, 0, -1)))
    assert titles([long_ago])[run.id].zh == "小明 · 第 3 次 · 2025-03-04 09:05"
    shelf.rename(run, "我的第一次")
    assert titles([run])[run.id].zh == "我的第一次 · 第 3 次 · 15:18"
    shelf.rename(run, "")
    write_json(run.path / "label.json", {})
    # From an earlier version, which did not number them: two within a minute.
    old = [named(run, serial=0, id=name) for name in ("a", "b")]
    assert {name: title.zh for name, title in titles(old).items()} == {
        "a": "小明 · 15:18 · a",
        "b": "小明 · 15:18 · b",
    }


def test_all_jobs_of_a_run_are_its_time(workspace, failed_run, fake_engine):
    before = failed_run.seconds
    assert before > 0
    fake_engine("ok", iters=40, seconds=0.02)
    runs.resume(workspace, failed_run)
    assert wait_until(lambda: failed_run.job.status() is Status.FINISHED, PATIENCE)
    assert failed_run.seconds > before
    assert failed_run.state().seconds == failed_run.seconds
    assert failed_run.seconds > failed_run.job.seconds
