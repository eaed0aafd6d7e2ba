"""Which rows of a large dataset are counted: enough, and none more often than it occurs."""

from types import SimpleNamespace

import pytest

from core.data.statistics import every_of
from core.data.tokens import MOST_COUNTED, SAMPLE


@pytest.mark.parametrize("rows", [1, MOST_COUNTED])
def test_every_row_of_a_small_one(rows):
    assert every_of(SimpleNamespace(rows=rows)) == 1


@pytest.mark.parametrize("rows", [MOST_COUNTED + 1, 200_000, 1_000_000, 12_345_678])
def test_a_sample_of_a_large_one_is_large_enough_and_heeds_rows_that_come_in_turn(rows):
    step = every_of(SimpleNamespace(rows=rows))
    assert SAMPLE / 3 < rows / step <= SAMPLE
    for turn in (2, 5, 10):
        seen = {row % turn for row in range(0, rows, step)}
        assert seen == set(range(turn))
