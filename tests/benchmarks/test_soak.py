"""The criteria of the soak test: the slope of the memory, and the processes that are left."""

import os
import random
import subprocess
import sys

from benchmarks.soak import floors, left_in, slope
from core.jobs.job import wait_until
from tests.conftest import PATIENCE


def test_the_slope_is_that_of_most_samples():
    steady = [(30.0 * n, 200.0 + 2 * n / 120) for n in range(80)]
    assert abs(slope(steady)[0] - 2.0) < 1e-6
    steady[40] = (1200.0, 900.0)
    assert abs(slope(steady)[0] - 2.0) < 0.1
    assert slope([(0.0, 1.0)])[0] == 0.0


def test_what_the_slope_may_be_is_said():
    """Of a hundred servers that grow by 2 MB an hour, between readings that scatter, the interval of some 95 holds it."""
    chance, held = random.Random(5), 0
    for _ in range(100):
        samples = [(120.0 * n, 140.0 + 2.0 * n / 30 + chance.gauss(0, 0.3)) for n in range(16)]
        middle, least, most = slope(samples)
        assert least < middle < most
        held += least <= 2.0 <= most
    assert 88 <= held < 100
    exact = [(120.0 * n, 140.0 + 2.0 * n / 30) for n in range(16)]
    assert all(abs(end - 2.0) < 1e-6 for end in slope(exact))


def test_what_is_given_back_each_minute_does_not_count():
    """The minimum of each two minutes: what pages take in between is freed again."""
    samples = [(3.0 * n, 140.0 + 3.0 * n / 3600 + n % 20) for n in range(800)]
    least = floors(samples)
    assert len(least) == 20
    assert abs(slope(least)[0] - 1.0) < 0.1


def test_what_is_left_is_found_by_its_environment_and_by_its_words(tmp_path):
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
    by_words = subprocess.Popen([*sleeping, str(tmp_path)])
    by_environment = subprocess.Popen(sleeping, env={**os.environ, "XTUNER_STUDIO_HOME": str(tmp_path)})
    try:
        assert wait_until(lambda: len(left_in(tmp_path, set())) == 2, PATIENCE)
        assert len(left_in(tmp_path, {by_words.pid})) == 1
    finally:
        for process in (by_words, by_environment):
            process.kill()
            process.wait()
    assert left_in(tmp_path, set()) == []
