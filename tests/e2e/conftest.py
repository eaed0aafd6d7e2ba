"""One real demo for all end-to-end tests: real XTuner and InternLM2 code, on a demo model built from scratch."""

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
# Far more than a demo takes on two busy cores, and than the journey takes to start it.
MOST_SECONDS, MOST_TO_BEGIN = 1800, 600
# The test that starts the demo like a learner, in a browser.
LEARNER = "test_the_whole_demo_survives_the_tab_and_the_server[zh]"


@dataclass(frozen=True)
class Demo:
    """A finished demo: its workspace, the output of `demo --json`, its duration in seconds."""

    workspace: Workspace
    answer: dict[str, Any]
    seconds: float

    @property
    def run(self) -> Path:
        return self.workspace.runs / self.answer["run"]


def command(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m core …` like a user."""
    return subprocess.run(
        [sys.executable, "-m", "core", *arguments, "--workspace", str(workspace.root)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


def engine(workspace: Workspace, *arguments: str) -> str:
    """Run the engine's interpreter and return its output; for checks that need torch."""
    if arguments[0] == "-c":
        # It starts like the product's own processes.
        arguments = ("-c", f"from core.ground import garbage; garbage.wait()\n{arguments[1]}", *arguments[2:])
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
    """Where the one demo of this test session runs, and whether a test of this session starts it in a browser."""

    workspace: Workspace
    by_a_learner: bool

    @property
    def job(self) -> Job | None:
        """The demo, once it has started."""
        return next(iter(jobs_in(self.workspace.jobs, "demo")), None)


@pytest.fixture(scope="session")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """An empty workspace for the demo. The last pytest process that uses it stops what is still running in it."""
    own, beside_others = tmp_path_factory.getbasetemp(), "PYTEST_XDIST_WORKER" in os.environ
    # Under xdist each worker has its own directory within that of the session, and all know all tests.
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
    """The one demo of this session: started by the journey's learner, else by the first process that needs it."""
    if stage.by_a_learner:
        # A job exists a moment before its process does.
        wait_until(lambda: stage.job is not None and stage.job.status() is not Status.CRASHED, MOST_TO_BEGIN)
    with locked(stage.workspace.root.parent / "demo.starting"):
        return stage.workspace, stage.job or whole_way.start(stage.workspace, NICKNAME)


@pytest.fixture(scope="session")
def demo_model(begun: tuple[Workspace, Job]) -> Path:
    """The demo model, as soon as the demo has built it; the demo continues meanwhile."""
    workspace, job = begun
    model = workspace.model("demo")
    assert wait_until(lambda: model.exists() or not job.status().live, MOST_SECONDS), job.log_tail()
    assert model.exists(), job.log_tail()
    return model


@pytest.fixture(scope="session")
def demo(begun: tuple[Workspace, Job]) -> Demo:
    """The finished demo."""
    workspace, job = begun
    assert wait_until(lambda: not job.status().live, MOST_SECONDS), job.log_tail()
    assert job.status() is Status.FINISHED, job.log_tail()
    (told,) = workspace.runs.glob("*/demo.json")
    return Demo(workspace, read_json(told), job.exit["seconds"])


def copied(demo: Demo, root: Path) -> Demo:
    """Copy the finished demo into a workspace of its own, to train and chat in without affecting other tests."""
    workspace = Workspace.open(root)
    for what in ("models", "datasets", "configs", "runs"):
        shutil.copytree(getattr(demo.workspace, what), getattr(workspace, what), symlinks=True, dirs_exist_ok=True)
    return replace(demo, workspace=workspace)


@pytest.fixture
def apart(demo: Demo, tmp_path: Path) -> Demo:
    """The finished demo in a workspace of the test's own."""
    return copied(demo, tmp_path / "apart")
