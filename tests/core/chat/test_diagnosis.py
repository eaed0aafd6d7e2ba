"""What scores mean, at every border."""

import pytest

from core.chat.diagnosis import diagnose, next_config
from core.chat.score import Scores
from core.config import config as configs
from core.forecast.warmup import check_warmup
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
    """What is changed for a model that has learned too much still trains."""
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
