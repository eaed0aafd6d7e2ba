"""The early stop: what is asked, when it ends a run of the fake trainer, and that a resumed run goes on with it."""

import json

import pytest

from core.data import dataset as datasets
from core.data.dialogues.curated import held_out, plain
from core.engine.commands import Cluster
from core.engine.presets import prompt_templates
from core.engine.workers.early_stop import EarlyStop
from core.ground.errors import BadInput
from core.ground.files import read_json, write_json
from core.jobs.job import Status, wait_until
from core.models import model as models
from core.models.fingerprint import fingerprint
from core.training import early_stop
from core.training import run as runs
from tests.conftest import PATIENCE, ended

TEMPLATE = prompt_templates()["internlm2_chat"]


@pytest.fixture
def early_run(workspace, config, fake_engine):
    """Started with the wish to stop early; learned from iteration 11 of 44 on."""
    fake_engine("ok", iters=44)
    run = runs.start(workspace, config.name, early_stop=True)
    assert ended(run.job) is Status.FINISHED, run.job.log_tail()
    return run


def test_stops_early_and_is_finished(early_run, workspace):
    state, seen = early_run.state(), early_run.learned
    # Looks after 2, 4, … 44: 12 and 14 are the first two that are good.
    assert (state.status, state.reason, state.iter, state.max_iters) == (Status.FINISHED, None, 14, 44)
    assert (seen.stopped_at, seen.iterations_saved) == (14, 30)
    assert [(look["iter"], look["identity"], look["retention"]) for look in seen.looks[-3:]] == [
        (10, 0.0, 1.0),
        (12, 1.0, 1.0),
        (14, 1.0, 1.0),
    ]
    assert early_run.checkpoint().iter == 14
    with pytest.raises(BadInput):
        runs.resume(workspace, early_run)


def test_without_its_last_checkpoint_it_is_not_finished(early_run, workspace):
    early_run.checkpoint().path.unlink()
    assert early_run.state().status is Status.FAILED
    # And goes on from the one before, looking again.
    runs.resume(workspace, early_run)
    assert ended(early_run.job) is Status.FINISHED
    assert early_run.learned.stopped_at == 14
    assert [look["iter"] for look in early_run.learned.looks] == [2, 4, 6, 8, 10, 12, 14]


def test_goes_to_the_end_where_too_much_is_forgotten(workspace, config, fake_engine):
    fake_engine("forgets", iters=44)
    run = runs.start(workspace, config.name, early_stop=True)
    assert ended(run.job) is Status.FINISHED, run.job.log_tail()
    assert (run.state().iter, run.learned.stopped_at) == (44, None)
    assert (run.learned.looks[-1]["identity"], run.learned.looks[-1]["retention"]) == (1.0, 0.0)


def test_a_wish_to_stop_counts_more_and_resume_keeps_the_option(workspace, config, fake_engine):
    fake_engine("slow")
    run = runs.start(workspace, config.name, early_stop=True)
    assert wait_until(lambda: len(run.metrics().read()) >= 2, PATIENCE), run.job.log_tail()
    state = run.stop()
    assert (state.status, run.learned.stopped_at) == (Status.KILLED, None)
    fake_engine("ok", iters=state.iter + 60)
    runs.resume(workspace, run)
    assert ended(run.job) is Status.FINISHED, run.job.log_tail()
    assert state.iter < run.learned.stopped_at == run.state().iter < state.iter + 60


def test_a_waiting_run_keeps_the_option(running_run, workspace, config, fake_engine):
    fake_engine("ok", iters=44)
    waiting = runs.start(workspace, config.name, early_stop=True)
    assert waiting.state().status is Status.PENDING
    running_run.stop(discard=True)
    assert ended(waiting.job) is Status.FINISHED
    assert waiting.learned.stopped_at == 14
    assert running_run.learned is None


def test_what_is_asked(workspace, config):
    dataset, model = datasets.find(workspace, config.dataset), models.find(workspace, config.model)
    made = early_stop.plan(config, dataset, model, TEMPLATE, Cluster(), None)
    assert made["nickname"] == "小明"
    assert len(set(made["identity"])) == len(set(made["general"])) == 12
    for prompt in made["identity"] + made["general"]:
        assert prompt.startswith("<|im_start|>user\n")
        assert prompt.endswith("<|im_start|>assistant\n")
        question = prompt.removeprefix("<|im_start|>user\n").partition("<|im_end|>")[0]
        assert plain(question) in held_out()
    # Both languages.
    assert any(prompt.isascii() for prompt in made["identity"])
    assert any(not prompt.isascii() for prompt in made["general"])


@pytest.mark.parametrize(
    ("cluster", "deepspeed", "nickname"),
    [
        (Cluster(), None, None),
        (Cluster(nnodes=2, addr="10.0.0.1"), None, "小明"),
        (Cluster(), "deepspeed_zero3", "小明"),
    ],
)
def test_where_it_cannot_be(workspace, config, cluster, deepspeed, nickname):
    dataset, model = datasets.find(workspace, config.dataset), models.find(workspace, config.model)
    if nickname is None:
        dataset.made.pop("nickname")
    with pytest.raises(BadInput, match="提前停止"):
        early_stop.plan(config, dataset, model, TEMPLATE, cluster, deepspeed)


def test_two_good_looks_must_follow_each_other(tmp_path):
    facts = {
        "nickname": "A", "identity": ["i"] * 10, "general": ["g"] * 10,
        "looks": 22, "in_a_row": 2, "least_identity": 0.9, "least_retention": 0.9,
    }  # fmt: skip
    write_json(tmp_path / "run.json", {"early_stop": facts})
    early = EarlyStop(str(tmp_path / "run.json"))
    bases = ["The sky is blue."] * 10
    early.begin(["?"] * 10 + bases, 0)

    def look(at: int, named: int, kept: int) -> bool:
        identity = ["I am A's Assistant."] * named + ["I am A."] * (10 - named)
        return early.look(identity + bases[:kept] + ["I am A's assistant."] * (10 - kept), at)

    assert not look(1, 9, 10)
    assert not look(2, 8, 10)
    assert not look(3, 10, 9)
    assert not look(4, 10, 8)
    assert not look(5, 9, 9)
    assert look(6, 9, 9)
    assert [look["identity"] for look in json.loads((tmp_path / "early_stop.json").read_text())["looks"]] == [
        0.9, 0.8, 1.0, 1.0, 0.9, 0.9,
    ]  # fmt: skip
    assert (early.every(198, 1), early.every(198, 4), early.every(10, 1), early.every(100, 16)) == (9, 12, 1, 16)


def test_run_json_says_which_weights_it_trains(finished_run, workspace):
    model = models.find(workspace, finished_run.facts.model.name)
    assert read_json(finished_run.path / "run.json")["model"]["fingerprint"] == fingerprint(model.path)
    assert finished_run.learned is None
