"""Disk space for the checkpoints is required before a start, with figures."""

import pytest

from core.config.memory import Setup
from core.engine.config_file import ConfigFile
from core.forecast import space
from core.forecast.space import BESIDE_BYTES, check_space, checkpoint_bytes, estimate
from core.models.shape import shape
from core.training import run as runs
from tests.core.config.test_memory import INTERNLM2, facts

# For an adapter of rank 64 on InternLM2-1.8B.
ESTIMATED = 830_000_000


def test_estimates():
    def each(*, optimizer=True, deepspeed=None, **options):
        setup = Setup.of({**facts(**options), "deepspeed": deepspeed}, cuda=True)
        return checkpoint_bytes(INTERNLM2, setup, optimizer=optimizer)

    # On every linear layer and the head.
    assert INTERNLM2.trained(64) == 68_968_448
    assert each() == 12 * 68_968_448 == pytest.approx(ESTIMATED, rel=0.01)
    assert each(optimizer=False) == 4 * 68_968_448
    assert each(bits=None, dtype="bfloat16") == each()
    assert each(deepspeed="deepspeed_zero2") == 14 * 68_968_448
    assert each(r=0, bits=None, dtype=None) == 12 * INTERNLM2.parameters
    assert each(r=0, bits=None, dtype="bfloat16") == 6 * INTERNLM2.parameters
    # Measured: a checkpoint of 22.7 GB (decimal) for 1.9 billion weights in single precision.
    assert each(r=0, bits=None, dtype=None) == pytest.approx(22.7e9, rel=0.01)
    assert checkpoint_bytes(None, Setup.of(facts(), cuda=True)) == 0


def test_before_a_start_it_is_estimated_by_the_text_of_the_config(config, small_model):
    rank = config.values()["r"]
    assert estimate(config, small_model) == 12 * shape(small_model.path).trained(rank)
    save = ConfigFile(config.text())
    save.set("default_hooks.checkpoint.save_optimizer", False)
    config.file.write_text(save.text, encoding="utf-8")
    assert estimate(config, small_model) == 4 * shape(small_model.path).trained(rank)


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
    found = check_space(tmp_path, 3, ESTIMATED, measured=measured)
    assert [problem.severity for problem in found] == ([severity] if severity else [])
    if found:
        assert "MB" in found[0].message.en or "GB" in found[0].message.en
        assert found[0].hint.zh


@pytest.mark.parametrize("limit", [-1, None, 0])
def test_where_nobody_knows_how_many_are_kept_two_are_counted(monkeypatch, tmp_path, limit):
    each = 100_000_000
    monkeypatch.setattr(space, "free_bytes", lambda _: 2 * each + BESIDE_BYTES)
    assert check_space(tmp_path, limit, ESTIMATED, measured=each) == []
    monkeypatch.setattr(space, "free_bytes", lambda _: 2 * each + BESIDE_BYTES - 1)
    assert len(check_space(tmp_path, limit, ESTIMATED, measured=each)) == 1


def test_a_disk_that_cannot_be_asked(tmp_path):
    assert check_space(tmp_path / "missing", 3, ESTIMATED) == []


def test_what_an_earlier_run_took_is_what_counts(workspace, finished_run, config, monkeypatch):
    took = max(found.bytes for found in finished_run.checkpoints())
    monkeypatch.setattr(space, "free_bytes", lambda _: 3 * took + BESIDE_BYTES)
    assert runs.before_start(workspace, config.name) == []
    monkeypatch.setattr(space, "free_bytes", lambda _: 3 * took + BESIDE_BYTES - 1)
    (problem,) = runs.before_start(workspace, config.name)
    assert problem.severity == "error"
    with pytest.raises(runs.BadInput, match="3"):
        runs.start(workspace, config.name)
