"""Charts: few points whatever the length, peaks and gaps kept, no point moves while a series grows; CSV export."""

import csv
import io
import json
import math

import numpy as np
import plotly.graph_objects as go

from pages.components.charts import MOST_POINTS, Line, Panel, figure, stacked, thinned
from pages.components.csv_file import csv_of, csv_text


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
    assert len(figure(lines, "x", "y", log=True).whole().data[0].y) <= MOST_POINTS


def test_thinned_against_a_plain_loop():
    """The minimum and maximum of each bucket, and its first gap in place of the minimum."""
    random = np.random.default_rng(1)
    for length in (1_501, 3_000, 5_003):
        values = random.normal(size=length)
        values[random.random(length) < 0.01] = np.nan
        values[1_000:1_400] = np.nan
        width = 1
        while 2 * -(-length // width) > MOST_POINTS:
            width *= 2
        expected = set()
        for start in range(0, length, width):
            bucket = values[start : start + width].astype(np.float32)
            gaps, known = np.flatnonzero(np.isnan(bucket)), np.flatnonzero(~np.isnan(bucket))
            if len(known):
                expected.add(start + known[bucket[known].argmax()])
            expected.add(start + (gaps[0] if len(gaps) else bucket.argmin()))
        assert thinned(np.arange(length), values)[0].tolist() == sorted(expected)


def test_a_figure_of_many_lines_is_small():
    values = np.random.default_rng(0).normal(size=100_000)
    many = [Line(name=f"GPU {number}", x=range(100_000), y=values) for number in range(8)]
    shown = stacked([Panel(title=str(panel), lines=many, height=100) for panel in range(4)], "x")
    assert sum(len(trace.x) for trace in shown.whole().data) <= MOST_POINTS
    assert all(trace.x.dtype == trace.y.dtype == np.float32 for trace in shown.whole().data)
    assert len(json.dumps(shown.to_dict())) < 40_000


def test_panels_do_not_overlap_and_share_the_axis():
    line = Line(name="loss", x=[1, 2], y=[1.0, 2.0])
    shown = stacked([Panel(title="a", lines=[line]), Panel(title="b", lines=[line], height=100, log=True)], "x").whole()
    upper, lower = shown.layout.yaxis.domain, shown.layout.yaxis2.domain
    assert upper[1] == 1.0
    assert upper[0] > lower[1] > lower[0] >= 0
    assert shown.layout.yaxis2.type == "log"
    assert shown.layout.xaxis.anchor == "y2"


def test_a_figure_is_what_plotly_would_make_of_it():
    """Plotly's own objects, and its validation of every property, are left out when a figure is drawn."""
    lines = [Line(name="a", x=[1, 2], y=[1.0, None]), Line(name="b", x=[1], y=[2.0], marker="diamond")]
    shown = stacked(
        [Panel(title="a", lines=lines, log=True), Panel(title="b", lines=lines, span=(0, 1))], "x", span=(0, 2)
    )
    told = go.Figure(json.loads(json.dumps(shown.to_dict())))
    assert told.to_plotly_json() == go.Figure(json.loads(shown.whole().to_json())).to_plotly_json()


def rows(text: str) -> list[list[str]]:
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))


def test_csv_of_a_figure():
    lines = [Line(name="原始", x=[1, 2, 3], y=[0.1, None, 0.3]), Line(name='a, "b"', x=[2, 4], y=[7.0, 8.5])]
    assert rows(csv_of(figure(lines, "iteration", "loss").whole())) == [
        ["iteration", "原始", 'a, "b"'],
        ["1.0", "0.1", ""],
        ["2.0", "", "7.0"],
        ["3.0", "0.3", ""],
        ["4.0", "", "8.5"],
    ]


def test_a_name_is_no_markup():
    shown = figure([Line(name="<b>a</b> & b", x=[1], y=[2.0])], "x", "y").whole()
    assert shown.data[0].name == "&lt;b&gt;a&lt;/b&gt; &amp; b"
    assert rows(csv_of(shown))[0] == ["x", "<b>a</b> & b"]


def test_csv_of_categories():
    shown = go.Figure({"data": [{"type": "bar", "x": ["b", "a"], "y": [1, 2]}]})
    assert rows(csv_of(shown)) == [["x", "y1"], ["a", "2"], ["b", "1"]]


def test_csv_text_leaves_no_number_empty():
    assert rows(csv_text(["a", "b"], [[1, None], [float("nan"), np.float32(0.1)]])) == [
        ["a", "b"],
        ["1", ""],
        ["", "0.1"],
    ]


def test_a_text_that_a_spreadsheet_would_run_is_quoted():
    text = csv_text(["=cmd|' /C x'!A0", "y"], [["@SUM(1)", -2.5], ["-2+3+cmd|' /C x'!A0", 1]])
    assert text == "\ufeff'=cmd|' /C x'!A0,y\n'@SUM(1),-2.5\n'-2+3+cmd|' /C x'!A0,1\n"
