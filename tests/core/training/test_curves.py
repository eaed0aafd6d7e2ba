"""The history as columns, its average, and when each iteration was done."""

import numpy as np
import pytest

from core.training.curves import Curves, average, iterations_at, seconds_at
from core.training.metrics import Metrics
from tests.core.training.test_metrics import add, point


def test_nothing_yet(tmp_path):
    curves = Curves(tmp_path)
    assert not curves.read()
    assert all(len(column) == 0 for column in curves.columns().values())


def test_the_same_history_as_the_points(tmp_path):
    """A resumed run, with gaps and garbage, read in two steps."""
    curves, metrics = Curves(tmp_path), Metrics(tmp_path)
    add(tmp_path, "20260101_000000", *(point(at, 1.0) for at in range(1, 8)), "x", '{"loss": NaN, "iter": 8}')
    assert curves.read()
    metrics.read()
    add(tmp_path, "20260101_000100", '{"loss": 3, "iter": 5, "time": "?", "lr": null}', point(6), point(7))
    assert curves.read()
    assert not curves.read()
    points, columns = metrics.read(), curves.columns()
    assert columns["iter"].tolist() == [p["iter"] for p in points] == list(range(1, 8))
    for name in ("loss", "lr"):
        np.testing.assert_array_equal(columns[name], np.array([p.get(name) for p in points], dtype=float))
    assert np.isnan(columns["time"][4])
    assert np.isnan(columns["grad_norm"]).all()


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("length", [1, 2, 3, 10, 1_000])
def test_average_against_a_plain_loop(weight, length):
    values = np.random.default_rng(0).normal(size=length)
    values[length // 2] = np.nan if length > 2 else values[length // 2]
    expected, mean, seen = [], 0.0, 0
    for value in values:
        if np.isnan(value):
            expected.append(np.nan)
            continue
        mean, seen = weight * mean + (1 - weight) * value, seen + 1
        expected.append(mean / (1 - weight**seen))
    np.testing.assert_allclose(average(values, weight), expected, rtol=1e-9)


def columns(iters, seconds):
    return {"iter": np.array(iters, dtype=float), "time": np.array(seconds, dtype=float)}


def anchors(*pairs: tuple[int, float]) -> np.ndarray:
    """As returned by `Samples.anchors`."""
    return np.array(pairs, dtype=float).reshape(-1, 2).T


def test_seconds_without_samples_are_those_of_the_iterations():
    assert seconds_at(columns([1, 2, 3], [0.5, 0.5, 1.0]), anchors()).tolist() == [0.5, 1.0, 2.0]
    # Logged every ten iterations, one of them without a known duration.
    assert seconds_at(columns([10, 20, 30], [0.5, np.nan, 0.5]), anchors()).tolist() == [5.0, 5.0, 10.0]


def test_seconds_between_and_beyond_the_samples():
    """A minute of loading before the first iteration, and an evaluation of twenty seconds after the third."""
    found = seconds_at(columns(range(1, 7), [1.0] * 6), anchors((0, 60.0), (3, 63.0), (4, 84.0)))
    assert found.tolist() == [61.0, 62.0, 63.0, 84.0, 85.0, 86.0]
    assert seconds_at(columns([1, 2, 3], [1.0] * 3), anchors((3, 63.0))).tolist() == [61.0, 62.0, 63.0]
    assert seconds_at(columns([], []), anchors((3, 63.0))).tolist() == []


def test_iterations_of_samples():
    found = iterations_at(np.array([0.0, 60.0, 61.5, 99.0]), anchors((0, 60.0), (3, 63.0)))
    np.testing.assert_allclose(found, [np.nan, 0.0, 1.5, 3.0])
    assert np.isnan(iterations_at(np.array([1.0]), anchors())).all()


def test_average_against_its_definition():
    values = np.array([5.0, 3.0, 4.0, 1.0])
    for weight in (0.0, 0.5, 0.9):
        for end in range(1, 5):
            weights = weight ** np.arange(end - 1, -1, -1)
            assert average(values, weight)[end - 1] == pytest.approx((weights * values[:end]).sum() / weights.sum())


def test_average_of_gaps_nothing_and_huge_values():
    nan = float("nan")
    np.testing.assert_allclose(average(np.array([1.0, nan, 1.0, nan]), 0.9), [1.0, nan, 1.0, nan])
    np.testing.assert_allclose(average(np.array([nan, 2.0]), 0.9), [nan, 2.0])
    assert average(np.array([]), 0.9).size == 0
    assert np.isfinite(average(np.array([1e300, 1e300]), 0.9)).all()
