"""One real demo for all end-to-end tests: real XTuner, real InternLM2 code, on the demo model built from nothing."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.engine.commands import engine_environment
from core.ground.workspace import PROJECT, Workspace
from core.jobs.job import jobs_in

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


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The whole workflow, cold, through the command line."""
    workspace = Workspace.open(tmp_path_factory.mktemp("e2e") / "my work")
    started = time.monotonic()
    done = command(workspace, "demo", "--name", NICKNAME, "--json")
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr[-3000:]
    yield Demo(workspace, json.loads(done.stdout), seconds)
    for job in jobs_in(workspace.jobs):
        if job.status().live:
            job.stop(discard=True)
