"""Samples as columns: gaps, pauses, clocks, and when each iteration was done."""

import json

import numpy as np
import pytest

from core.jobs.samples import Samples, records


def sample(t, **values):
    return {"t": t, "cpu": 10.0, "memory_mb": 500, "process_mb": 100, "process_cpu": None, "gpus": [], **values}


@pytest.fixture
def write(tmp_path):
    """Append samples to the file that `read` reads."""

    def write(*samples, end="\n"):
        with (tmp_path / "telemetry.jsonl").open("a") as file:
            file.write("\n".join(s if isinstance(s, str) else json.dumps(s) for s in samples) + end)

    return write


@pytest.fixture
def samples(tmp_path):
    return Samples(tmp_path / "telemetry.jsonl")


def test_no_file(samples):
    samples.read()
    assert samples.count == 0
    assert samples.columns() == {}
    assert samples.gpus == []


def test_grows_and_waits_for_whole_lines(samples, write):
    write(sample(100.0), sample(102.0))
    samples.read()
    assert samples.columns()["seconds"].tolist() == [0.0, 2.0]
    write('{"t": 104.0, "cp', end="")
    samples.read()
    assert samples.count == 2
    write('u": 30.0}', "garbage", "[]", '{"x": 1}')
    samples.read()
    assert samples.columns()["cpu"].tolist() == [10.0, 10.0, 30.0]
    assert samples.last == {"t": 104.0, "cpu": 30.0}


def test_what_nobody_reports_is_a_gap(samples, write):
    write(sample(1.0), sample(3.0, process_cpu=50.0, gpus=[{"used_mb": 7, "utilisation": None}]), sample(5.0))
    samples.read()
    np.testing.assert_array_equal(samples.columns()["process_cpu"], [np.nan, 50.0, np.nan])
    np.testing.assert_array_equal(samples.columns()["gpu0.used_mb"], [np.nan, 7.0, np.nan])
    assert "gpu0.utilisation" not in samples.columns()
    assert "gpu1.used_mb" not in samples.columns()


def test_a_resume_hours_later_is_no_pause(samples, write):
    write(sample(100.0), sample(102.0), sample(50_000.0), sample(50_002.0))
    samples.read()
    assert samples.columns()["seconds"].tolist() == [0.0, 2.0, 4.0, 6.0]


def test_a_clock_that_is_set_back(samples, write):
    write(sample(100.0), sample(102.0), sample(-3_500.0), sample(-3_498.0))
    samples.read()
    assert samples.columns()["seconds"].tolist() == [0.0, 2.0, 4.0, 6.0]


def test_when_iterations_were_done(samples, write):
    write(
        sample(100.0, iter=None),
        sample(102.0, iter=3, at=101.5),
        sample(104.0, iter=9, at=103.5),
        # An evaluation: no iteration was done meanwhile.
        sample(106.0, iter=9, at=103.5),
        # Resumed from iteration 4.
        sample(900.0, iter=4, at=899.5),
        sample(902.0, iter=6, at=901.5),
    )
    samples.read()
    assert samples.anchors.tolist() == [[3, 4, 6], pytest.approx([1.5, 7.5, 9.5])]


def test_a_file_that_was_replaced(samples, write, tmp_path):
    write(*(sample(float(t)) for t in range(10)))
    samples.read()
    (tmp_path / "telemetry.jsonl").write_text(json.dumps(sample(50.0)) + "\n")
    samples.read()
    assert samples.count == 1


def test_numbers_that_are_none(samples, write):
    write('{"t": 1, "cpu": NaN, "memory_mb": "x", "gpus": null, "cuda": {"used_mb": 5}}')
    samples.read()
    assert "cpu" not in samples.columns()
    assert samples.columns()["cuda.used_mb"].tolist() == [5.0]
    assert "memory_mb" not in samples.columns()


def test_records_pass_over_what_is_none():
    assert records([]) == []
    assert records(['{"a": 1}', '{"b": NaN}'])[0] == {"a": 1}
    assert records(['{"a": 1}', "x", "", "1, 2", '{"a": 2}']) == [{"a": 1}, {"a": 2}]
    assert records(["1,2", '{"a": 1}']) == [{"a": 1}]
