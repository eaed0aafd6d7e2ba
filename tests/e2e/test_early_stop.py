"""A real run that ends when it has learned who it is: real XTuner, the demo model and its data."""

import shutil

from core.config import config as configs
from core.data import dataset as datasets
from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.training import run as runs
from tests.e2e.conftest import Demo


def test_ends_when_the_identity_is_learned(demo: Demo, tmp_path) -> None:
    workspace = Workspace.open(tmp_path / "early")
    for one in ("models", "datasets"):
        shutil.copytree(getattr(demo.workspace, one), getattr(workspace, one), dirs_exist_ok=True)
    data = next(found for found in datasets.every(workspace) if found.made.get("nickname"))
    config = configs.make(workspace, model="demo", dataset=data.name, recipe="fast", name="early")
    run = runs.start(workspace, config.name, early_stop=True)
    run.job.wait(900)
    state, seen = run.state(), run.learned
    assert state.status is Status.FINISHED, run.job.log_tail()
    assert seen.stopped_at == state.iter < state.max_iters
    assert seen.iterations_saved == state.max_iters - state.iter
    assert seen.seconds_saved > 0
    # Exactly the first two good checks in a row; good means learned in each language.
    learned = [min(look.get("by_language", {"": look["identity"]}).values()) >= 0.9 for look in seen.looks]
    good = [known and look["retention"] >= 0.9 for known, look in zip(learned, seen.looks, strict=True)]
    assert good[-2:] == [True, True]
    assert all(not (one and two) for one, two in zip(good[:-2], good[1:-1], strict=True))
    # The first check finds nothing learned.
    assert not learned[0]
    assert run.checkpoint().iter == state.iter
    # The answers after training exist, at the iteration where it ended.
    last = run.timeline()[-1]
    assert last.iter == state.iter
    assert all(run.nickname in answer for answer in last.answers)
