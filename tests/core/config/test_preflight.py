"""What a training will be: the engine measures, here with made-up facts; the arithmetic is ours."""

from pathlib import Path

import pytest

from core.config import preflight as module
from core.config.preflight import _memory_mb, _schedule_problems, _seconds, preflight
from core.engine.model import Model
from core.ground.errors import WorkFailed

FACTS = {
    "samples": 150,
    "tokens": 6000,
    "longest": 60,
    "batch_size": 16,
    "accumulative_counts": 1,
    "max_epochs": 12,
    "max_iters": None,
    "save_steps": 40,
    "save_total_limit": 3,
    "evaluation_freq": 20,
    "evaluation_inputs": 2,
    "warmup_epochs": 0.36,
    "quantised": False,
    "activation_checkpointing": False,
    "lora_r": 16,
    "flops_per_s": 1e11,
}
MODEL = Model(
    name="m", path=Path("/m"), parameters=2_000_000, dtype="float32", layers=2, hidden_size=192, vocab_size=1500
)


def found(**changes):
    problems = _schedule_problems({**FACTS, **changes}, 10, 120, 120, 150, 150)
    return {problem.where: problem for problem in problems}


def test_nothing_is_wrong_with_the_fast_recipe():
    assert found() == {}


def test_warm_up_of_nothing_is_an_error():
    problems = found(warmup_epochs=0.05)
    assert problems["warmup_ratio"].severity == "error"
    assert "0.009" in problems["warmup_ratio"].hint.en


@pytest.mark.parametrize(
    ("facts", "updates", "unique", "rows", "where"),
    [
        ({}, 29, 150, 150, "accumulative_counts"),
        ({"save_steps": 121}, 120, 150, 150, "save_steps"),
        ({"evaluation_freq": 121}, 120, 150, 150, "evaluation_freq"),
        ({}, 120, 2, 7502, "dataset"),
    ],
)
def test_warning(facts, updates, unique, rows, where):
    (problem,) = _schedule_problems({**FACTS, **facts}, 10, 120, updates, unique, rows)
    assert (problem.where, problem.severity) == (where, "warning")
    assert problem.message.zh
    assert problem.hint.en


def test_no_warning_just_below():
    facts = {**FACTS, "save_steps": 120, "evaluation_freq": 120}
    assert _schedule_problems(facts, 10, 120, 30, 75, 7500) == []
    assert _schedule_problems({**FACTS, "evaluation_freq": None}, 10, 120, 30, 2, 100) == []


def test_seconds_come_from_earlier_runs_where_there_are_any():
    tokens = FACTS["tokens"] / FACTS["samples"] * FACTS["batch_size"]
    estimated = _seconds(FACTS, MODEL, 120, [])
    earlier = {"parameters": MODEL.parameters, "tokens": tokens, "seconds": 0.5}
    assert _seconds(FACTS, MODEL, 120, [earlier]) == pytest.approx(module.STARTING_SECONDS + 60)
    other = {**earlier, "parameters": 7, "seconds": 100.0}
    assert _seconds(FACTS, MODEL, 120, [other]) == estimated > module.STARTING_SECONDS
    outlier = {**earlier, "seconds": 500.0}
    assert _seconds(FACTS, MODEL, 120, [earlier, outlier, earlier]) == pytest.approx(module.STARTING_SECONDS + 60)


def test_memory_grows_with_what_takes_it():
    usual = _memory_mb(FACTS, MODEL)
    assert usual > module.BASE_MEMORY_MB
    assert _memory_mb({**FACTS, "batch_size": 64}, MODEL) > usual
    assert _memory_mb({**FACTS, "activation_checkpointing": True}, MODEL) < usual
    assert _memory_mb({**FACTS, "quantised": True}, MODEL) < usual


@pytest.fixture
def facts(monkeypatch):
    """What the engine is made to have measured."""
    given = dict(FACTS)
    monkeypatch.setattr(module, "config_facts", lambda *_: given)
    return given


def test_counts(workspace, config, dataset, facts):
    facts["samples"] = 151
    told = preflight(workspace, config)
    assert (told.rows, told.unique_rows) == (dataset.rows, dataset.unique_rows)
    assert (told.packs, told.iters, told.optimizer_updates) == (151, 120, 120)
    # Checkpoints at 40, 80, 120; answers before, at 20, 40, … 120, and after.
    assert (told.checkpoints, told.evaluations) == (3, 8)
    assert set(told.to_json()) == {
        "rows",
        "unique_rows",
        "tokens",
        "packs",
        "iters",
        "optimizer_updates",
        "evaluations",
        "checkpoints",
        "estimated_seconds",
        "estimated_memory_mb",
        "problems",
    }


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"accumulative_counts": 16}, "optimizer_updates", 8),
        ({"max_iters": 50}, "iters", 50),
        ({"save_steps": 50}, "checkpoints", 3),
        ({"save_total_limit": 1}, "checkpoints", 1),
        ({"save_total_limit": -1, "save_steps": 10}, "checkpoints", 12),
        ({"evaluation_freq": 1000}, "evaluations", 5),
        ({"evaluation_inputs": 0}, "evaluations", 0),
    ],
)
def test_schedule(workspace, config, facts, changes, name, value):
    facts.update(changes)
    assert getattr(preflight(workspace, config), name) == value


def test_broken_config_is_not_measured(workspace, config, monkeypatch):
    monkeypatch.setattr(module, "config_facts", lambda *_: pytest.fail("measured"))
    config.file.write_text("a = = 1")
    told = preflight(workspace, config)
    assert [problem.where for problem in told.problems] == ["config.py"]
    assert told.iters == 0


def test_engine_that_cannot_read_it(workspace, config, monkeypatch):
    def refuse(*_):
        raise WorkFailed("引擎读不出", "the engine cannot read it")

    monkeypatch.setattr(module, "config_facts", refuse)
    (problem,) = preflight(workspace, config).problems
    assert problem.message.en == "the engine cannot read it"
