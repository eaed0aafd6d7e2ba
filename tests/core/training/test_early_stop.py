"""Early stopping: what is asked, when it ends a run of the fake trainer, and that it survives resuming."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.data import dataset as datasets
from core.data.assistant import COURSE_QUESTIONS, ENGLISH_QUESTIONS
from core.data.dialogues.curated import dialogues, held_out, plain
from core.engine.cluster import Cluster
from core.engine.presets import prompt_templates
from core.engine.workers import early_stop as worker
from core.engine.workers.asking import Said
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
    """Started with early stopping; the identity is learned from iteration 11 of 44 on."""
    fake_engine("ok", iters=44)
    run = runs.start(workspace, config.name, early_stop=True)
    assert ended(run.job) is Status.FINISHED, run.job.log_tail()
    return run


def test_stops_early_and_is_finished(early_run, workspace):
    state, seen = early_run.state(), early_run.learned
    assert (state.status, state.reason, state.iter, state.max_iters) == (Status.FINISHED, None, 16, 44)
    assert (seen.stopped_at, seen.iterations_saved) == (16, 28)
    # Checks after 4, 8, … 40.
    assert [(look["iter"], look["identity"], look["retention"]) for look in seen.looks] == [
        (4, 0.0, 1.0), (8, 0.0, 1.0), (12, 1.0, 1.0), (16, 1.0, 1.0),
    ]  # fmt: skip
    assert seen.looks[-1]["by_language"] == {"zh": 1.0, "en": 1.0}
    assert (seen.why, seen.to_json()["why"]) == ("learned", "learned")
    assert early_run.checkpoint().iter == 16
    with pytest.raises(BadInput):
        runs.resume(workspace, early_run)


def test_without_its_last_checkpoint_it_is_not_finished(early_run, workspace):
    early_run.checkpoint().path.unlink()
    assert early_run.state().status is Status.FAILED
    # It resumes from the previous one and checks again.
    runs.resume(workspace, early_run)
    assert ended(early_run.job) is Status.FINISHED
    assert early_run.learned.stopped_at == 16
    assert [look["iter"] for look in early_run.learned.looks] == [4, 8, 12, 16]


def test_goes_to_the_end_where_too_much_is_forgotten(workspace, config, fake_engine):
    fake_engine("forgets", iters=44)
    run = runs.start(workspace, config.name, early_stop=True)
    assert ended(run.job) is Status.FINISHED, run.job.log_tail()
    assert (run.state().iter, run.learned.stopped_at) == (44, None)
    assert (run.learned.looks[-1]["identity"], run.learned.looks[-1]["retention"]) == (1.0, 0.0)


@pytest.fixture
def no_toy(monkeypatch):
    """The small model of these tests counts as a real one."""
    monkeypatch.setattr(models.Model, "toy", property(lambda _: False))


@pytest.mark.usefixtures("no_toy")
def test_a_real_model_ends_too_where_what_is_lost_does_not_come_back(workspace, config, fake_engine):
    fake_engine("forgets", iters=44)
    run = runs.start(workspace, config.name, early_stop=True)
    assert ended(run.job) is Status.FINISHED, run.job.log_tail()
    assert (run.state().iter, run.learned.stopped_at, run.learned.why) == (16, 16, "no_better")
    assert (run.learned.looks[-1]["identity"], run.learned.looks[-1]["agreement"]) == (1.0, 0.0)


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
    assert waiting.learned.stopped_at == 16
    assert running_run.learned is None


@pytest.mark.usefixtures("no_toy")
def test_what_is_asked(workspace, config):
    dataset, model = datasets.find(workspace, config.dataset), models.find(workspace, config.model)
    made = early_stop.plan(config, dataset, model, TEMPLATE, Cluster(), None)
    assert made["nickname"] == "小明"
    # A few questions first, then everything that the scores and the assignment ask.
    asked = [one for one in dialogues("identity")["questions"] if one["held_out"]]
    assert (len(set(made["identity"])), len(set(made["general"]))) == (len(asked) + 4, 16)
    assert (made["probe"], made["first"], made["languages"][:12]) == (4, 12, ["zh", "en"] * 6)
    assert len(made["languages"]) == len(asked) + 4
    # Where the base is kept, the first check is so late that some of it is known.
    kept = early_stop.plan(config, dataset, model, TEMPLATE, Cluster(), None, keep=True)
    assert (kept["probe"], kept["earliest"], made["earliest"]) == (12, early_stop.KEPT_EARLIEST, 0.0)
    assert made["languages"][-4:] == ["zh", "zh", "en", "en"]
    assert made["last_identity"] == 0.98
    assert made["measure"] == "agreement"
    # They show how long an answer may be.
    assert len(made["answers"]) == 4
    assert all("小明" in answer for answer in made["answers"])
    questions = []
    for prompt in made["identity"] + made["general"]:
        assert prompt.startswith("<|im_start|>user\n")
        assert prompt.endswith("<|im_start|>assistant\n")
        questions.append(prompt.removeprefix("<|im_start|>user\n").partition("<|im_end|>")[0])
    taught = (*COURSE_QUESTIONS, *ENGLISH_QUESTIONS)
    assert tuple(question for question in questions if plain(question) not in held_out()) == taught
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


def test_only_the_languages_that_are_taught_are_asked_who_it_is(workspace, config):
    dataset, model = datasets.find(workspace, config.dataset), models.find(workspace, config.model)
    dataset.made["language"] = "en"
    made = early_stop.plan(config, dataset, model, TEMPLATE, Cluster(), None)
    # A toy has only these.
    assert made["languages"] == ["en"] * 12
    assert (made["first"], made["last_identity"]) == (12, made["least_identity"])
    assert all(prompt.isascii() for prompt in made["identity"])


@pytest.mark.parametrize(
    ("recipe", "parameters", "cluster", "deepspeed", "nickname", "ends"),
    [
        ("fast", 135_000_000, Cluster(), None, "小明", True),
        ("fast", 135_000_000, Cluster(), "deepspeed_zero2", "小明", True),
        ("fast", 135_000_000, Cluster(), "deepspeed_zero3", "小明", False),
        ("fast", 135_000_000, Cluster(nnodes=2, addr="10.0.0.1"), None, "小明", False),
        ("fast", 135_000_000, Cluster(), None, None, False),
        # A toy is trained to the end.
        ("fast", 3_000_000, Cluster(), None, "小明", False),
        ("course", 135_000_000, Cluster(), None, "小明", False),
        ("pretrain", 135_000_000, Cluster(), None, "小明", False),
    ],
)
def test_the_recipe_says_whether_it_ends_early(
    workspace, config, recipe, parameters, cluster, deepspeed, nickname, ends
):
    dataset = datasets.find(workspace, config.dataset)
    dataset.made["nickname"] = nickname
    model = replace(models.find(workspace, config.model), parameters=parameters)
    config.facts["recipe"] = recipe
    assert early_stop.usual(config, dataset, model, cluster, deepspeed) is ends


def test_unless_somebody_says(workspace, config, fake_engine, monkeypatch):
    fake_engine("ok", iters=44)
    monkeypatch.setattr(runs, "ends_early", lambda *_: True)
    assert ended(runs.start(workspace, config.name, early_stop=None).job) is Status.FINISHED
    assert runs.find(workspace, "latest").learned.stopped_at == 16
    assert ended(runs.start(workspace, config.name, early_stop=False).job) is Status.FINISHED
    assert runs.find(workspace, "latest").learned is None


NAMED, BARE = "I am A's Assistant.", "I am A."


@pytest.fixture
def early(tmp_path):
    """Create the checks of a run from a plan."""

    def make(**plan) -> EarlyStop:
        usual = {
            "nickname": "A", "identity": ["i"] * 10, "general": ["g"] * 10, "looks": 22, "in_a_row": 2,
            "least_identity": 0.9, "least_agreement": 0.8, "least_retention": 0.9,
        }  # fmt: skip
        write_json(tmp_path / "run.json", {"early_stop": usual | plan})
        return EarlyStop(str(tmp_path / "run.json"))

    return make


def test_two_good_looks_must_follow_each_other(early, tmp_path):
    # As planned by an earlier version: what counts is how the general answers read.
    made = early()
    bases = ["The sky is blue."] * 10
    made.begin(bases, 0)

    def look(at: int, named: int, kept: int) -> "str | None":
        retention = made.retention(bases[:kept] + [NAMED] * (10 - kept))
        return made.look([NAMED] * named + [BARE] * (10 - named), retention, at)

    assert not look(1, 9, 10)
    assert not look(2, 8, 10)
    assert not look(3, 10, 9)
    assert not look(4, 10, 8)
    assert not look(5, 9, 9)
    assert look(6, 9, 9) == "learned"
    looks = json.loads((tmp_path / "early_stop.json").read_text())["looks"]
    assert [look["identity"] for look in looks] == [0.9, 0.8, 1.0, 1.0, 0.9, 0.9]
    assert [look["retention"] for look in looks] == [1.0, 1.0, 0.9, 0.8, 0.9, 0.9]


def test_of_a_real_model_its_own_words_count(early):
    made = early(measure="agreement")

    def look(*kept: "float | None", named: int = 10) -> "str | None":
        made.begin([[1]], 0)
        said = [made.look([NAMED] * named + [BARE] * (10 - named), value, at + 1) for at, value in enumerate(kept)]
        return said[-1] if not any(said[:-1]) else "sooner"

    assert look(0.8, 0.8) == "learned"
    assert look(0.9, 0.85, named=8) is None
    # Unknown: the identity had not been reached.
    assert look(None, 0.85) is None
    # It comes back: worth waiting for.
    assert look(0.7, 0.72) is None
    assert look(0.75, 0.78, 0.81, 0.82) == "learned"
    # It does not.
    assert look(0.7, 0.705) == "no_better"
    assert look(0.85, 0.79) == "no_better"


def test_each_language_must_be_learned(early):
    made = early(measure="agreement", languages=["zh"] * 5 + ["en"] * 5)
    made.begin([[1]], 0)
    only_zh = [NAMED] * 5 + [BARE] * 5
    assert (made.identity(only_zh), made.reached(only_zh)) == ({"zh": 1.0, "en": 0.0}, False)
    assert made.reached([NAMED] * 10)
    nine = [NAMED] * 9 + [BARE]
    # Nine of ten in total, and four of five in English.
    assert (made.look(nine, 0.9, 1), made.look(nine, 0.9, 2)) == (None, None)


def test_the_last_look_must_find_more(early):
    made = early(measure="agreement", last_identity=0.98)

    def look(*named: int) -> "list[str | None]":
        made.begin([[1]], 0)
        return [made.look([NAMED] * n + [BARE] * (10 - n), 0.9, at) for at, n in enumerate(named, 1)]

    assert look(10, 9, 9) == [None, None, None]
    assert look(9, 10) == [None, "learned"]
    assert look(8, 10, 10) == [None, None, "learned"]


def test_where_the_base_is_kept_nothing_is_lost_by_learning_the_rest(early):
    made = early(measure="agreement", last_identity=0.98, least_agreement=early_stop.KEPT_AGREEMENT, keeps=True)

    def look(*looks: "tuple[int, float]") -> "list[str | None]":
        made.begin([[1]], 0)
        said = [NAMED] * 10
        return [made.look(said[:n] + [BARE] * (10 - n), kept, at) for at, (n, kept) in enumerate(looks, 1)]

    # Not everything is learned.
    assert look((9, 0.98), (9, 0.98)) == [None, None]
    # Everything is learned; more comes back as the learning rate falls, even if nothing does for a while.
    assert look((10, 0.9), (10, 0.9), (10, 0.93), (10, 0.98), (10, 0.98)) == [None, None, None, None, "learned"]


@pytest.mark.parametrize(
    ("known", "asked", "identity"),
    [
        # One of the first is not known: the others are not asked.
        (3, [4], 0.75),
        (4, [4, 6], 0.4),
        (9, [4, 6], 0.9),
    ],
)
def test_all_others_are_asked_once_the_first_are_known(early, known, asked, identity):
    looked(early, known, asked, identity)


@pytest.mark.parametrize(
    ("known", "asked", "identity"),
    [
        # Nothing is known: two are enough to see it.
        (0, [2], 0.0),
        (1, [2, 2], 0.25),
        (4, [2, 2, 6], 0.4),
        (9, [2, 2, 6], 0.9),
    ],
)
def test_the_rest_of_the_first_are_asked_once_one_is_known(early, known, asked, identity):
    looked(early, known, asked, identity, probe=2)


@pytest.mark.parametrize(
    ("known", "identity"),
    [
        # Those beyond the first four would not have been asked.
        (3, 0.75),
        (9, 0.9),
    ],
)
def test_what_was_known_is_asked_all_at_once(early, known, identity):
    def before(made):
        made.look([NAMED] * 10, 0.5, 2)

    looked(early, known, [10], identity, before, probe=2)


def looked(early, known, asked, identity, before=lambda _: None, **plan):
    """Look at a model that knows the first questions, and compare what it was asked and what was found."""
    made = early(measure="agreement", identity=[f"i{n}" for n in range(10)], first=4, max_new_tokens=1, **plan)
    made.begin([[1]], 0)
    before(made)

    batches = []

    def ask(prompts, *_, **__):
        batches.append(len(prompts))
        return [Said(text=NAMED if int(prompt[1:]) < known else BARE) for prompt in prompts]

    looks = object.__new__(worker.Looks)
    looks.early, looks.longest = made, 9
    looks.asking = SimpleNamespace(ask=ask, agreed=lambda *_: [1])
    looks._look(SimpleNamespace(logger=logging.getLogger(__name__)), 4)
    assert batches == asked
    assert made.seen["looks"][-1]["identity"] == identity
    # What is left of the base model is only asked when everything is learned.
    assert (made.seen["looks"][-1]["agreement"] is not None) == (known == 9)


@pytest.mark.parametrize(("known", "asked_base"), [(3, 0), (9, 1)])
def test_the_base_is_asked_when_its_answers_are_first_needed(early, known, asked_base):
    """With its adapter disabled, so nobody waits for it before training; and only once."""
    made = early(measure="agreement", identity=[f"i{n}" for n in range(10)], first=4, max_new_tokens=1)
    made.begin(None, 0)
    bases, compared = [], []

    def ask(prompts, *_, base=False, **__):
        if base:
            bases.append(prompts)
            return [Said([5], "5") for _ in prompts]
        return [Said(text=NAMED if int(prompt[1:]) < known else BARE) for prompt in prompts]

    looks = object.__new__(worker.Looks)
    looks.early, looks.longest = made, 9
    looks.asking = SimpleNamespace(ask=ask, agreed=lambda _, answers: compared.append(answers) or [1])
    for at in (4, 8):
        looks._look(SimpleNamespace(logger=logging.getLogger(__name__)), at)
    assert bases == [made.plan["general"]] * asked_base
    assert compared == [[[5]] * len(made.plan["general"])] * (2 * asked_base)
    assert read_json(Path(made.path))["base"] == ([[5]] * len(made.plan["general"]) if asked_base else None)


def test_how_often_it_looks(early):
    made = early()
    assert (made.every(198, 1), made.every(198, 4), made.every(10, 1), made.every(100, 16)) == (9, 12, 1, 16)
    made = early(least_updates=4)
    assert (made.every(198, 1), made.every(29, 1), made.every(29, 2), made.every(100, 16)) == (9, 4, 8, 64)


def test_a_run_that_keeps_is_not_looked_at_in_its_first_third(early):
    def at(**plan) -> "list[int]":
        made = early(**plan)
        return [done for done in range(1, 34) if made.due(done, 34, 5)]

    assert at(earliest=early_stop.KEPT_EARLIEST) == [15, 20, 25]
    # Plans of earlier versions do not say.
    assert at() == at(earliest=0.0) == [5, 10, 15, 20, 25]


def test_what_can_no_longer_end_a_run_is_not_asked(early):
    """Two good looks must follow each other: a single one that is left decides only after a good one."""
    made = early()
    made.begin(["The sky is blue."], 0)
    for named, due in ((10, [25, 30]), (8, [25]), (9, [25, 30])):
        made.look([NAMED] * named + [BARE] * (10 - named), 1.0, 20)
        assert [done for done in (25, 30) if made.due(done, 34, 5)] == due


def test_an_answer_may_be_as_long_as_the_longest_that_is_taught():
    class Characters:
        def encode(self, text, **_):
            return list(text)

        def decode(self, ids):
            return "".join(ids)

    plan = {
        "nickname": "Ann",
        "max_new_tokens": 32,
        "answers": ["Ann's assistant, at your service.", "I am an assistant of Ann."],
    }
    assert worker._longest(Characters(), plan) == len("I am an assistant of Ann") + worker.SPARE
    assert worker._longest(Characters(), {**plan, "answers": ["Nobody."]}) == 32


def test_run_json_says_which_weights_it_trains(finished_run, workspace):
    model = models.find(workspace, finished_run.facts.model.name)
    assert read_json(finished_run.path / "run.json")["model"]["fingerprint"] == fingerprint(model.path)
    assert finished_run.learned is None
