"""Columns that grow at their end, and snapshots of them that do not change."""

import numpy as np
import pytest

from core.jobs.columns import Columns


def test_rows_of_any_kind():
    columns = Columns(["a"])
    columns.extend([{"a": 1, "b": None}, {"a": None}, {"a": "x", "c": 3}, {"a": float("inf"), "c": float("nan")}])
    found = columns.views()
    assert sorted(found) == ["a", "c"]
    np.testing.assert_array_equal(found["a"], [1, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(found["c"], [np.nan, np.nan, 3, np.nan])
    columns.extend([{"b": 7, "d": 8}], all_names=False)
    assert sorted(columns.views()) == ["a", "c"]
    columns.extend([])
    assert columns.count == 5


def test_grows_far_and_late_names_have_gaps_before():
    columns = Columns()
    for start in range(0, 5_000, 500):
        columns.extend([{"a": at} for at in range(start, start + 500)])
    columns.extend([{"a": 5_000, "b": 1}])
    found = columns.views()
    assert found["a"].tolist() == list(range(5_001))
    assert np.isnan(found["b"][:-1]).all()
    assert found["b"][-1] == 1


def test_a_look_stays_what_it_was():
    columns = Columns()
    columns.extend([{"a": at} for at in range(10)])
    before = columns.views()["a"]
    columns.cut(4)
    columns.extend([{"a": -1}, {"a": -2}])
    assert before.tolist() == list(range(10))
    assert columns.views()["a"].tolist() == [0, 1, 2, 3, -1, -2]
    with pytest.raises(ValueError, match="read-only"):
        before[0] = 5
    columns.cut(100)
    assert columns.count == 6
