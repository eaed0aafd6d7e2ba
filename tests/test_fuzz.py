"""The fuzzing itself: a few damaged files into each reader; a failure is reported with the seed that repeats it."""

import pytest

from tests.fuzz import __main__ as fuzz


@pytest.mark.parametrize("reader", fuzz.READERS)
def test_a_few_of_each(reader):
    assert [wrong for number in range(1, 6) if (wrong := fuzz.tried(reader, number))] == []


def test_a_failure_is_told_with_its_seed(monkeypatch, capsys):
    monkeypatch.setattr(fuzz.logs, "trial", lambda _directory, rng: 1 // (rng.random() > 2))
    monkeypatch.setenv("SEED", "7")
    monkeypatch.setenv("COUNT", "1")
    monkeypatch.setattr(fuzz.sys, "argv", ["fuzz", "logs"])
    assert fuzz.main() == 1
    assert "SEED=7 COUNT=1 python -m tests.fuzz logs: ZeroDivisionError" in capsys.readouterr().out
