"""What the machine reports about how a command ended."""

from pathlib import Path

from core.jobs import evidence
from core.jobs.evidence import free_bytes, oom_kills


def test_kills_are_counted_where_the_kernel_says(monkeypatch, tmp_path):
    events, whole = tmp_path / "memory.events", tmp_path / "vmstat"
    monkeypatch.setattr(evidence, "_own_groups", lambda: [tmp_path / "missing", events])
    monkeypatch.setattr(evidence, "_VMSTAT", whole)
    assert oom_kills() is None
    whole.write_text("nr_free_pages 1\noom_kill 7\n")
    assert oom_kills() == 7
    events.write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert oom_kills() == 2


def test_own_groups_of_both_versions():
    found = evidence._own_groups()
    assert all(isinstance(path, Path) and path.is_absolute() for path in found)


def test_free_space(tmp_path):
    assert free_bytes(tmp_path) > 0
    assert free_bytes(tmp_path / "missing") is None
