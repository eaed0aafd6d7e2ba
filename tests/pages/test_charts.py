"""The charts: few points whatever the length, peaks and gaps kept, and no point moves as a series grows."""

import math

import numpy as np

from pages.components.charts import MOST_POINTS, Line, figure, thinned


def test_a_short_series_is_drawn_as_it_is():
    x, y = thinned([1, 2, 3], [0.5, None, 0.25])
    assert x.dtype == y.dtype == np.float32
    assert x.tolist() == [1, 2, 3]
    assert math.isnan(y[1])


def test_a_long_series_keeps_its_peaks_and_its_gaps():
    values: list[float | None] = [math.sin(step / 500) for step in range(100_000)]
    values[54_321], values[77_777] = 9.0, None
    x, y = thinned(range(100_000), values)
    assert len(y) <= MOST_POINTS
    assert np.nanmax(y) == 9.0
    assert np.isnan(y).sum() == 1
    assert (np.diff(x) > 0).all()


def test_points_stay_where_they_are_while_the_series_grows():
    values = np.random.default_rng(0).normal(size=50_020).tolist()
    before = set(thinned(range(50_000), values[:50_000])[0].tolist())
    after = set(thinned(range(50_020), values)[0].tolist())
    assert len(before - after) <= 2


def test_a_figure_with_nothing_but_gaps():
    lines = [Line(name="loss", x=list(range(1000)), y=[None] * 1000)]
    assert len(figure(lines, "x", "y", log=True).data[0].y) <= MOST_POINTS
