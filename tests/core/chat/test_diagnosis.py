"""What scores mean, at every border."""

import pytest

from core.chat.diagnosis import diagnose
from core.chat.score import Scores


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
        questions=[],
    )
    found = diagnose(scores)
    assert found.verdict == verdict
    for text in (found.words, found.next_step):
        assert text.zh
        assert text.en
