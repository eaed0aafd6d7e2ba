"""Runs side by side: their results, and the differences of their configs."""

import json
import re

import pytest

from core.config import config as configs
from core.ground.errors import BadInput
from core.training import run as runs
from core.training.comparison import compare, facts
from tests.conftest import ended


@pytest.fixture
def other_run(workspace, config, fake_engine):
    """A second run, with a changed config and a loss that ends in NaN."""
    configs.change(workspace, config.name, {"lr": 0.001, "max_epochs": 8})
    fake_engine("nan")
    run = runs.start(workspace, config.name)
    ended(run.job)
    return run


def test_two_runs(finished_run, other_run):
    found = compare([finished_run, other_run])
    assert [fact["run"] for fact in found.facts] == [finished_run.id, other_run.id]
    one, other = found.facts
    assert (one["iter"], one["max_iters"], one["epoch"], one["updates"]) == (12, 12, 2.0, 6)
    assert one["loss"] == pytest.approx(2 / 12 + 0.1, abs=1e-5)
    assert one["loss"] < one["loss_smoothed"]
    assert one["loss_least"] == one["loss"]
    assert one["tokens_per_s"] == pytest.approx(512 / 0.01)
    assert other["loss"] is None
    assert other["loss_least"] is not None
    assert found.settings["lr"][1] == 0.001
    assert found.settings["max_epochs"][1] == 8
    assert "seed" not in found.settings
    diff = found.diffs[other_run.id]
    assert "+lr = 0.001" in diff
    assert diff.startswith(f"--- {finished_run.id}")
    json.dumps(found.facts, allow_nan=False)


def test_a_setting_that_is_code_is_told_as_it_is_written(finished_run, other_run):
    text = other_run.config.read_text(encoding="utf-8")
    other_run.config.write_text(re.sub(r"(?m)^lr = .*", "lr = float(os.environ['LR'])", text), encoding="utf-8")
    found = compare([finished_run, other_run])
    assert found.settings["lr"][1] == "float(os.environ['LR'])"
    json.dumps(found.settings)


def test_a_run_that_told_nothing(failed_run):
    for file in failed_run.work_dir.rglob("scalars.json"):
        file.unlink()
    found = facts(failed_run)
    assert (found["status"], found["loss"], found["loss_least"], found["seconds_per_iter"]) == (
        "FAILED",
        None,
        None,
        None,
    )


def test_fewer_than_two(finished_run):
    for chosen in ([], [finished_run], [finished_run, finished_run]):
        with pytest.raises(BadInput):
            compare(chosen)


def test_a_config_that_is_no_python_any_more(finished_run, other_run):
    other_run.config.write_text("a = = 1\n")
    found = compare([finished_run, other_run])
    assert "+a = = 1" in found.diffs[other_run.id]
    assert found.settings["lr"][1] is None
