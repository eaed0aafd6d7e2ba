"""One real demo for all end-to-end tests: real XTuner, real InternLM2 code, on the demo model built from nothing."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from core import demo as whole_way
from core.engine.commands import engine_environment
from core.ground.files import read_json
from core.ground.lock import locked
from core.ground.workspace import PROJECT, Workspace
from core.jobs.job import Job, Status, jobs_in, wait_until
from tests.conftest import stop_jobs
from tests.e2e.server import CHROMIUM

NICKNAME = "小明"
# Far more than a demo takes on two cores that do other things too, and than the journey takes to begin it.
MOST_SECONDS, MOST_TO_BEGIN = 900, 300
# The test that begins the demo as a learner does, in a browser.
LEARNER = "test_the_whole_demo_survives_the_tab_and_the_server[zh]"


@dataclass(frozen=True)
class Demo:
    """A finished demo: its workspace, what `demo --json` printed, how long it took in seconds."""

    workspace: Workspace
    answer: dict[str, Any]
    seconds: float

    @property
    def run(self) -> Path:
        return self.workspace.runs / self.answer["run"]


def command(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m core …` as a user types it."""
    return subprocess.run(
        [sys.executable, "-m", "core", *arguments, "--workspace", str(workspace.root)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


def engine(workspace: Workspace, *arguments: str) -> str:
    """Run the engine's interpreter and return what it prints; for checks that need torch."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env={**os.environ, **engine_environment(workspace)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@dataclass(frozen=True)
class Stage:
    """Where the one demo of this test run takes place; whether a test of this run begins it in a browser."""

    workspace: Workspace
    by_a_learner: bool

    @property
    def job(self) -> Job | None:
        """The demo, from when it has begun."""
        return next(iter(jobs_in(self.workspace.jobs, "demo")), None)


@pytest.fixture(scope="session")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """An empty workspace for the demo. The last process of pytest that used it puts away what is in it."""
    own, beside_others = tmp_path_factory.getbasetemp(), "PYTEST_XDIST_WORKER" in os.environ
    # Under xdist each worker has a directory of its own in the one of the run, and all know all tests.
    shared = own.parent if beside_others else own
    comes = CHROMIUM is not None and any(item.name == LEARNER for item in request.session.items)
    with (shared / "demo.users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        yield Stage(Workspace.open(shared / "my work"), beside_others and comes)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stop_jobs(shared / "my work")


@pytest.fixture(scope="session")
def begun(stage: Stage) -> tuple[Workspace, Job]:
    """The one demo of this test run: begun by the journey's learner, else by the first process of pytest that asks."""
    if stage.by_a_learner:
        # A job is there a moment before its process is.
        wait_until(lambda: stage.job is not None and stage.job.status() is not Status.CRASHED, MOST_TO_BEGIN)
    with locked(stage.workspace.root.parent / "demo.starting"):
        return stage.workspace, stage.job or whole_way.start(stage.workspace, NICKNAME)


@pytest.fixture(scope="session")
def demo_model(begun: tuple[Workspace, Job]) -> Path:
    """The demo model, as soon as the demo has built it; the rest of the demo goes on meanwhile."""
    workspace, job = begun
    model = workspace.model("demo")
    assert wait_until(lambda: model.exists() or not job.status().live, MOST_SECONDS), job.log_tail()
    assert model.exists(), job.log_tail()
    return model


@pytest.fixture(scope="session")
def demo(begun: tuple[Workspace, Job]) -> Demo:
    """The demo, finished."""
    workspace, job = begun
    assert wait_until(lambda: not job.status().live, MOST_SECONDS), job.log_tail()
    assert job.status() is Status.FINISHED, job.log_tail()
    (told,) = workspace.runs.glob("*/demo.json")
    return Demo(workspace, read_json(told), job.exit["seconds"])


@pytest.fixture
def apart(demo: Demo, tmp_path: Path) -> Demo:
    """The finished demo in a workspace of the test's own, to train and chat in: others look at the demo meanwhile."""
    workspace = Workspace.open(tmp_path / "apart")
    for what in ("models", "datasets", "configs", "runs"):
        shutil.copytree(getattr(demo.workspace, what), getattr(workspace, what), symlinks=True, dirs_exist_ok=True)
    return replace(demo, workspace=workspace)
