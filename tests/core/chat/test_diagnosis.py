"""The interpretation of scores, at every threshold."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from core.chat.diagnosis import Diagnosis, changed_settings, diagnose, next_config, takes_other_data
from core.chat.rates import Scores
from core.config import config as configs
from core.config.settings.fields import BY_NAME
from core.data import dataset as datasets
from core.engine.config_file import ConfigFile
from core.engine.presets import COURSE_PRESET, preset_text
from core.forecast.warmup import check_warmup
from core.ground.text import Text
from tests.core.chat.test_score import answered


@pytest.mark.parametrize(
    ("identity", "retention", "parrot", "verdict"),
    [
        (1.0, 1.0, 0.0, "learned"),
        (0.9, 0.8, 0.1, "learned"),
        (0.89, 0.8, 0.0, "not_learned"),
        (0.0, 1.0, 0.0, "not_learned"),
        (0.9, 0.79, 0.0, "over_learned"),
        (0.9, 0.5, 0.0, "over_learned"),
        (0.9, 0.49, 0.0, "broken"),
        (0.0, 0.0, 0.0, "broken"),
        (1.0, 1.0, 0.11, "over_learned"),
        (1.0, 0.0, 1.0, "over_learned"),
    ],
)
def test_verdict(identity, retention, parrot, verdict):
    scores = Scores(
        identity={"base": 0.0, "tuned": identity},
        retention={"base": 1.0, "tuned": retention},
        parrot={"base": 0.0, "tuned": parrot},
        held_out={"base": 0.0, "tuned": 0.0},
        questions=[answered("identity"), answered("general")],
    )
    found = diagnose(scores)
    assert found.verdict == verdict
    for text in (found.words, found.next_step):
        assert text.zh
        assert text.en


@pytest.mark.parametrize(
    ("retention", "before", "after", "verdict"),
    [(1.0, 0.1, 0.4, "learned"), (1.0, 0.1, 0.1, "not_learned"), (0.4, 0.1, 0.9, "broken")],
)
def test_verdict_without_an_identity(retention, before, after, verdict):
    nothing = {"base": 0.0, "tuned": 0.0}
    scores = Scores(
        identity=nothing,
        retention={"base": 1.0, "tuned": retention},
        parrot=nothing,
        held_out={"base": before, "tuned": after},
        questions=[answered("held_out"), answered("general")],
    )
    assert diagnose(scores).verdict == verdict


def test_half_of_the_epochs_is_not_half_of_the_warmup(workspace, finished_run):
    """The suggested change for an overfitted model still trains."""
    nothing = {"base": 0.0, "tuned": 0.0}
    scores = Scores(
        identity={"base": 0.0, "tuned": 1.0},
        retention={"base": 1.0, "tuned": 0.7},
        parrot=nothing,
        held_out=nothing,
        questions=[answered("identity"), answered("general")],
    )
    made = next_config(workspace, finished_run, diagnose(scores))
    before = configs.find(workspace, finished_run.facts.config.name).values()
    assert made.values()["max_epochs"] == round(before["max_epochs"] / 2)
    assert made.values()["warmup_ratio"] == 2 * before["warmup_ratio"]
    assert check_warmup(workspace, made, 1) == []


def test_other_data_take_the_recipe_anew(workspace, finished_run):
    data = datasets.make_assistant(workspace, "小明", name="other")
    finished_run.facts.dataset.made["recipe"] = "course"
    found = diagnose(real(agreement=0.6), finished_run)
    assert takes_other_data(finished_run, found)
    made = next_config(workspace, finished_run, found, data)
    assert (made.dataset, made.facts["recipe"]) == ("other", "fast")


def real(identity=1.0, kept=1.0, agreement=0.88, parrot=0.0, leak=0.0, facts=100, gained=0):
    """Return the scores of a base model that knew facts, after a run that `gained` others."""
    net = None if kept is None else kept + gained / facts
    return Scores(
        identity={"base": 0.0, "tuned": identity},
        retention={"base": 1.0, "tuned": 0.2},
        parrot={"base": 0.0, "tuned": parrot},
        held_out={"base": 0.0, "tuned": 0.0},
        facts={"base_right": facts, "kept": kept, "gained": gained, "net": net},
        manner={"agreement": agreement, "nats": 0.0},
        leak=leak,
        questions=[answered("identity"), *[answered("fact")] * facts],
    )


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        (real(), "learned"),
        # How its answers read says nothing about a model that knows facts.
        (real(kept=0.96, agreement=0.81), "learned"),
        (real(identity=0.5), "not_learned"),
        # Four of 22 may be chance, seven are not; of more facts, a smaller share is enough.
        (real(kept=18 / 22, facts=22), "learned"),
        (real(kept=15 / 22, facts=22), "damaged"),
        (real(kept=0.88), "damaged"),
        # As many gained as lost: SmolLM2 after 14 updates, which had taught it nothing yet.
        (real(kept=0.79, facts=110, gained=27), "learned"),
        (real(kept=0.88, facts=300, gained=30), "learned"),
        # Qwen after the course's rows, by its Chinese and by its English facts.
        (real(kept=0.735, facts=166, gained=17), "damaged"),
        (real(kept=0.36, facts=133, gained=2), "broken"),
        (real(agreement=0.73), "damaged"),
        (real(kept=None, facts=12, agreement=0.73), "damaged"),
        (real(kept=None, facts=12), "learned"),
        (real(parrot=0.338, agreement=0.704, kept=18 / 22, facts=22), "over_learned"),
        (real(leak=0.08), "over_learned"),
        (real(kept=0.3), "broken"),
        (real(agreement=0.2, parrot=0.9), "broken"),
    ],
)
def test_verdict_of_a_base_that_knows_facts(scores, verdict):
    assert diagnose(scores).verdict == verdict


def test_advice_names_what_is_not_so_already(finished_run):
    data = finished_run.facts.dataset
    assert data.mix == "balanced"
    hurt = real(agreement=0.6)
    assert "balanced" in diagnose(hurt).next_step.en
    assert "balanced" not in diagnose(hurt, finished_run).next_step.en
    assert "own answers" in diagnose(hurt, finished_run).next_step.en
    # A base model that knows nothing gives worthless answers.
    toy = replace(hurt, facts={**hurt.facts, "base_right": 0}, manner={"agreement": None, "nats": None})
    assert "own answers" not in diagnose(toy, finished_run).next_step.en
    data.made["replay_model"] = "demo"
    step = diagnose(hurt, finished_run).next_step.en
    assert "own answers" not in step
    assert "max_epochs" in step
    data.made["recipe"] = "course"
    assert "balanced" in diagnose(hurt, finished_run).next_step.en


@pytest.mark.parametrize(("now", "then"), [(3, 6), (30, 60), (1, 2)])
def test_no_setting_is_changed_beyond_its_bounds(tmp_path, now, then):
    most = int(BY_NAME["max_epochs"].most)
    found = Diagnosis(verdict="not_learned", words=Text("", ""), next_step=Text("", ""), changes={"max_epochs": 2})
    run = SimpleNamespace(config=tmp_path / "config.py", nickname=None)

    def proposed(epochs):
        file = ConfigFile(preset_text(COURSE_PRESET))
        file.set(BY_NAME["max_epochs"].place(file), epochs)
        run.config.write_text(file.text, encoding="utf-8")
        return changed_settings(run, found)

    assert proposed(now) == {"max_epochs": (now, then)}
    assert proposed(most - 1) == {"max_epochs": (most - 1, most)}
    assert proposed(most) == {}
