"""Which runs preserve the base model's predictions: next to an adapter, and by default on the model's own answers."""

from types import SimpleNamespace

import pytest

from core.config import keeping
from core.ground.errors import BadInput

OWN, OTHERS = SimpleNamespace(made={"replay_model": "m"}), SimpleNamespace(made={})
REAL, TOY = SimpleNamespace(name="m", toy=False), SimpleNamespace(name="m", toy=True)


@pytest.mark.parametrize(
    ("r", "data", "model", "usual"),
    [
        (16, OWN, REAL, True),
        (None, OWN, REAL, False),
        (16, OTHERS, REAL, False),
        (16, OWN, TOY, False),
        (16, OWN, SimpleNamespace(name="another", toy=False), False),
    ],
)
def test_the_default(r, data, model, usual):
    assert keeping.usual({"r": r}, data, model) is usual


def test_a_full_fine_tune_has_no_base_beside_it():
    keeping.check("c", {"r": 16})
    with pytest.raises(BadInput, match="--keep"):
        keeping.check("c", {"r": None})
