"""The one reader of a run: what all viewers see."""

import threading

import numpy as np
import pytest

from core.ground.files import write_json
from core.jobs.job import wait_until
from core.training.watch import Watch
from tests.conftest import PATIENCE
from tests.core.training.test_metrics import add, point


def test_a_finished_run(finished_run):
    seen = Watch(finished_run).look()
    assert seen.history["iter"].tolist() == list(range(1, 13))
    assert [at.iter for at in seen.answers] == [0, 4, 8, 12]
    assert seen.points == [{"iter": 12, "loss": pytest.approx(2 / 12 + 0.1, abs=1e-5)}]
    assert seen.gap is None
    assert (np.diff(seen.history_seconds) >= 0).all()
    assert len(seen.machine_iterations) == len(seen.machine["seconds"])


def test_a_run_that_trains(running_run):
    watch = Watch(running_run)
    before = watch.look()
    assert wait_until(lambda: len(watch.look().history["iter"]) > len(before.history["iter"]) + 2, PATIENCE)
    assert wait_until(lambda: "iter" in watch.look().sample and watch.look().sample["iter"], PATIENCE)
    # A snapshot does not change.
    assert len(before.history["loss"]) == len(before.history["iter"])


def test_nothing_new_is_the_same_snapshot(finished_run):
    watch = Watch(finished_run)
    seen = watch.look()
    assert watch.look() is seen
    add(finished_run.work_dir, "99991231_000000", point(12, 0.5), '{"loss": NaN, "iter": 13}')
    assert watch.look() is not seen
    assert watch.look().gap == 13
    assert watch.look().points == [{"iter": 13, "loss": None}]


def test_nothing_yet(finished_run, tmp_path):
    for file in [*finished_run.work_dir.rglob("*.json"), *finished_run.work_dir.rglob("*.log")]:
        file.unlink()
    finished_run.telemetry.unlink(missing_ok=True)
    seen = Watch(finished_run).look()
    assert seen.points == []
    assert seen.seconds == 0.0
    assert seen.answers == ()
    write_json(tmp_path / "x.json", seen.sample)


def test_many_threads_see_the_same(finished_run):
    watch, found, stop = Watch(finished_run), [], threading.Event()

    def look():
        while not stop.is_set():
            seen = watch.look()
            found.append(len({len(column) for name, column in seen.history.items()}))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(13, 300):
        add(finished_run.work_dir, "99991231_000000", point(number, 0.5))
    stop.set()
    for thread in threads:
        thread.join()
    assert set(found) == {1}
    assert watch.look().points == [{"iter": 299, "loss": 0.5}]
