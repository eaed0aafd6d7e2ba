"""Time that nobody can set."""

import time

import pytest

from core.ground import clock
from core.ground.clock import Moment, since_boot


def test_it_goes_on():
    outside, before = time.monotonic(), since_boot()
    time.sleep(0.02)
    assert 0.02 <= since_boot() - before <= time.monotonic() - outside


def test_a_moment_on_disk_and_its_age(monkeypatch):
    began, moment = time.monotonic(), Moment.now()
    assert Moment.from_json(moment.to_json()) == moment
    time.sleep(0.02)
    assert 0.02 <= moment.age() <= time.monotonic() - began
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0.02 <= moment.age() <= time.monotonic() - began
    monkeypatch.setattr(clock, "boot_id", lambda: "another")
    assert moment.age() is None


@pytest.mark.parametrize("told", [None, {}, {"boot": "x"}, {"boot": "x", "at": "soon"}, [], "x"])
def test_what_is_no_moment(told):
    assert Moment.from_json(told) is None
