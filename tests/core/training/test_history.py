"""What earlier runs took, for the forecast of the next."""

import pytest

from core.training import history
from core.training import run as runs
from tests.conftest import ended
from tests.fakes.model import PARAMETERS


def test_nothing(workspace):
    assert history.measured(workspace) == []


@pytest.mark.usefixtures("finished_run")
def test_finished_run(workspace):
    assert history.measured(workspace) == [{"parameters": PARAMETERS, "tokens": 512.0, "seconds": 0.01}]


@pytest.mark.usefixtures("failed_run")
def test_failed_and_short_runs_tell_nothing(workspace, config, fake_engine):
    fake_engine("ok", iters=4)
    ended(runs.start(workspace, config.name).job)
    assert len(runs.every(workspace)) == 2
    assert history.measured(workspace) == []
