"""Room for the checkpoints is asked for before a start, with figures."""

import pytest

from core.forecast import space
from core.forecast.space import BESIDE_BYTES, check_space, checkpoint_bytes, trained_parameters
from core.models.model import Model
from core.training import run as runs

REAL = Model(name="internlm2", path=None, parameters=1_889_000_000, layers=24, hidden_size=2048, dtype="bfloat16")


def test_estimates():
    # LoRA of rank 64 on InternLM2-1.8B trains 63 million numbers; the estimate is rather too high.
    assert 63e6 <= trained_parameters(REAL, 64) < 80e6
    assert checkpoint_bytes(REAL, 64) == 12 * trained_parameters(REAL, 64)
    assert checkpoint_bytes(REAL, None) == 12 * REAL.parameters


@pytest.mark.parametrize(
    ("free", "measured", "severity"),
    [
        (10e9, None, None),
        (2e9, None, "warning"),
        (0.3e9, None, "error"),
        (2e9, 500_000_000, None),
        (1.4e9, 500_000_000, "error"),
    ],
)
def test_room(monkeypatch, tmp_path, free, measured, severity):
    monkeypatch.setattr(space, "free_bytes", lambda _: int(free))
    found = check_space(tmp_path, REAL, {"save_total_limit": 3, "r": 64}, measured=measured)
    assert [problem.severity for problem in found] == ([severity] if severity else [])
    if found:
        assert "MB" in found[0].message.en or "GB" in found[0].message.en
        assert found[0].hint.zh


@pytest.mark.parametrize("limit", [-1, None, 0])
def test_where_nobody_knows_how_many_are_kept_two_are_counted(monkeypatch, tmp_path, limit):
    each = 100_000_000
    monkeypatch.setattr(space, "free_bytes", lambda _: 2 * each + BESIDE_BYTES)
    assert check_space(tmp_path, REAL, {"save_total_limit": limit, "r": 64}, measured=each) == []
    monkeypatch.setattr(space, "free_bytes", lambda _: 2 * each + BESIDE_BYTES - 1)
    assert len(check_space(tmp_path, REAL, {"save_total_limit": limit, "r": 64}, measured=each)) == 1


def test_a_disk_that_cannot_be_asked(tmp_path):
    assert check_space(tmp_path / "missing", REAL, {"r": 64}) == []


def test_what_an_earlier_run_took_is_what_counts(workspace, finished_run, config, monkeypatch):
    took = max(found.bytes for found in finished_run.checkpoints())
    monkeypatch.setattr(space, "free_bytes", lambda _: 3 * took + BESIDE_BYTES)
    assert runs.before_start(workspace, config.name) == []
    monkeypatch.setattr(space, "free_bytes", lambda _: 3 * took + BESIDE_BYTES - 1)
    (problem,) = runs.before_start(workspace, config.name)
    assert problem.severity == "error"
    with pytest.raises(runs.BadInput, match="3"):
        runs.start(workspace, config.name)
