"""The page of figures matches the results files; alternating two ways is a fair comparison."""

import subprocess
import sys

from benchmarks import table
from benchmarks.measure import interleaved, spread
from core.ground.workspace import PROJECT


def test_the_page_is_made_of_the_results():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.table", "--check"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_groups_of_figures_stand_side_by_side_and_the_rest_below():
    lines = table.table({"a": {"x": 1.23456, "y": None}, "b": {"x": 2000.5, "z": {"f": True}}, "c": 3})
    assert lines[0] == "| | a | b |"
    assert "| x | 1.235 | 2,000 |" in lines
    assert "| y | – |  |" in lines
    assert "| z.f |  | yes |" in lines
    assert lines[-1] == "| c | 3 |"
    assert table.table({"a": {"x": 1, "y": {"z": 2}}})[2:] == ["| a.x | 1 |", "| a.y.z | 2 |"]


def test_a_text_does_not_break_its_cell():
    assert "\n" not in table.short("a|b\nc")
    assert table.short("a|b") == "a\\|b"


def test_two_ways_are_timed_in_turn():
    order = []
    found = interleaved(lambda: order.append("one"), lambda: order.append("other"), rounds=4)
    assert order == ["one", "other", "other", "one", "one", "other", "other", "one"]
    assert len(found["seconds"]["one"]) == len(found["seconds"]["other"]) == 4
    assert found["ratio"]["least"] <= found["ratio"]["median"] <= found["ratio"]["most"]
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "least": 1.0, "most": 3.0}


def test_every_answer_is_a_figure_of_the_results(monkeypatch, tmp_path):
    rows = list(table.first())[2:]
    assert len(rows) == len(table.ASKED)
    assert not any("{" in row for row in rows)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.json").write_text('{"figures": {"x, y": {"z": 1.26}}}')
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    monkeypatch.setattr(table, "ASKED", (("How long?", "{a/b:x, y.z:.1f} s", "a toy"),))
    assert list(table.first())[2:] == ["| How long? | 1.3 s | a toy |"]
