"""Only one process holds a lock; those who wait in vain learn who holds it, and a dead process holds nothing."""

import os
import pwd
import subprocess
import sys
import threading
import time

import pytest

from core.ground import lock
from core.ground.errors import WorkFailed
from core.ground.lock import holder_of, locked
from tests.conftest import PATIENCE

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def held(tmp_path):
    """A lock file held by another process, and that process."""
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    yield path, holder
    holder.kill()
    holder.wait()
    holder.stdout.close()


def test_lock_lets_one_in_at_a_time(tmp_path):
    inside, most = [], []

    def enter() -> None:
        for _ in range(20):
            with locked(tmp_path / "deep" / "lock"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80
    assert max(most) == 1


def test_the_wait_has_an_end_and_says_who_holds_it(held, monkeypatch):
    path, holder = held
    now, waited = 1000.0, []

    def sleep(seconds):
        nonlocal now
        now += seconds
        waited.append(seconds)
        assert now < 1300, "it waits for ever"

    monkeypatch.setattr(lock.time, "monotonic", lambda: now)
    monkeypatch.setattr(lock.time, "sleep", sleep)
    with pytest.raises(WorkFailed) as failed, locked(path, seconds=120):
        pytest.fail("somebody else holds it")
    assert 120 <= sum(waited) < 121
    name = pwd.getpwuid(os.geteuid()).pw_name
    for words in (failed.value.text.zh, failed.value.text.en):
        assert str(path) in words
        assert {str(holder.pid), name} <= set(words.replace("，", " ").replace("：", " ").split())


def test_whoever_dies_holds_nothing(held):
    path, holder = held
    threading.Timer(0.2, holder.kill).start()
    with locked(path, seconds=PATIENCE):
        assert holder.wait() != 0


def test_what_is_raised_inside_frees_it(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock"):
        _ = 1 / 0
    with locked(tmp_path / "lock", seconds=0.0):
        pass


def test_a_holder_that_the_kernel_does_not_tell_of(tmp_path):
    with (tmp_path / "lock").open("a") as file:
        assert holder_of(file).en == "another process"
