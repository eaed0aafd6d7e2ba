"""One real demo for all end-to-end tests: real XTuner, real InternLM2 code, on the demo model built from nothing."""

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
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

NICKNAME = "小明"
# Far more than a demo takes on two cores that do other things too.
MOST_SECONDS = 900


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


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Job]]:
    """The one demo of this test run, from an empty workspace. The first process of pytest that asks starts it, and the
    last that used it puts it away."""
    own = tmp_path_factory.getbasetemp()
    # Under xdist each worker has a directory of its own in the one of the run.
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    workspace = Workspace.open(shared / "my work")
    with (shared / "demo.users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with locked(shared / "demo.starting"):
            job = next(iter(jobs_in(workspace.jobs, "demo")), None) or whole_way.start(workspace, NICKNAME)
        yield workspace, job
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stop_jobs(workspace.root)


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
