"""One real demo for all end-to-end tests: real XTuner, real InternLM2 code, on the demo model built from nothing."""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.engine.commands import engine_environment
from core.ground.files import read_json, write_json
from core.ground.lock import locked
from core.ground.workspace import PROJECT, Workspace
from tests.conftest import stop_jobs

NICKNAME = "小明"


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


def make_demo(workspace: Workspace) -> dict[str, Any]:
    """The whole workflow, cold, through the command line: what it printed, and how long it took."""
    started = time.monotonic()
    done = command(workspace, "demo", "--name", NICKNAME, "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    return {"answer": json.loads(done.stdout), "seconds": time.monotonic() - started}


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The one demo of this test run. The first process of pytest that asks for it makes it, the others wait."""
    own = tmp_path_factory.getbasetemp()
    # Under xdist each worker has a directory of its own in the one of the run.
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    workspace, made = Workspace.open(shared / "my work"), shared / "demo.json"
    with locked(shared / "demo.making", seconds=900):
        if not made.exists():
            write_json(made, make_demo(workspace))
    with (shared / "demo.users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        yield Demo(workspace, **read_json(made))
        with contextlib.suppress(BlockingIOError):
            # Whoever is the last to use it puts it away.
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stop_jobs(workspace.root)
