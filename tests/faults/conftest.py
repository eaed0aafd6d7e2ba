"""What every fault test measures and records: a row of the table in docs/reliability.md."""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.jobs.job import Job, Status, wait_until
from core.jobs.process import marked
from core.training import run as runs
from core.training.record import Run
from tests.conftest import PATIENCE

# File for the rows, if requested: only then times count, since the page tells them of a machine with nothing else to do.
RESULTS = "FAULT_RESULTS"
MEASURED = RESULTS in os.environ
MOST_SECONDS = 5.0 if MEASURED else PATIENCE


def left_of(job: Job) -> list[int]:
    """Return the live processes of a job, including those that have left its group and session."""
    pids = [process.pid for process in marked("XTUNER_STUDIO_STOP", str(job.directory / "stop.json"))]
    supervisor = job.pids["supervisor"]
    return pids + ([supervisor.pid] if supervisor and supervisor.alive() else [])


@dataclass
class Fault:
    """The measured effects of one fault."""

    row: dict[str, Any] = field(default_factory=dict)

    def shows(self, status: Callable[[], Status], expected: Status) -> None:
        """Check that the status is correct, where it is measured within five seconds from now."""
        began = time.monotonic()
        assert wait_until(lambda: status() is expected, MOST_SECONDS), f"{status()} after {MOST_SECONDS} s"
        self.row |= {"status": str(expected), "seconds": round(time.monotonic() - began, 1)}

    def leaves_nothing(self, job: Job, within: float = MOST_SECONDS) -> None:
        """Check that no process of the job is left."""
        assert wait_until(lambda: not left_of(job), within), left_of(job)
        self.row["left"] = 0

    def keeps(self, run: Run, iteration: int | None) -> None:
        """Check that the last loadable checkpoint is that of `iteration`, and that the metrics reach it."""
        whole = [found.iter for found in run.checkpoints() if found.whole]
        assert (whole[-1] if whole else None) == iteration
        told = [point["iter"] for point in run.metrics().read()]
        assert told == list(range(1, len(told) + 1))
        assert len(told) >= (iteration or 0)
        self.row["kept"] = f"iter_{iteration}" if iteration else "nothing was learned yet"

    def resumes(self, workspace: Any, run: Run, total: int) -> None:
        """Resume the run, and check that it finishes with an unbroken history."""
        runs.resume(workspace, run)
        assert wait_until(lambda: not run.job.status().live, PATIENCE)
        assert run.state().status is Status.FINISHED, run.job.log_tail(2000)
        assert [point["iter"] for point in run.metrics().read()] == list(range(1, total + 1))
        self.row["resumed"] = f"to its end, iterations 1 to {total} as one line"

    def stopped_in(self, seconds: float, most: float) -> None:
        """Record how long a stop took, and check it where it is measured."""
        assert not MEASURED or seconds < most
        self.row["stop_seconds"] = seconds

    def note(self, **facts: Any) -> None:
        """Record further facts for the table."""
        self.row |= facts


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Iterator[Fault]:
    """A recorder; its measurements are written when the test has ended, with whether it passed."""
    found = Fault()
    yield found
    report = getattr(request.node, "call_report", None)
    place = os.environ.get(RESULTS)
    if place and report is not None:
        said = " ".join((request.function.__doc__ or "").split())
        row = {"test": request.node.name, "what": said, "passed": report.passed, **found.row}
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:  # noqa: ARG001
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.call_report = report


@pytest.fixture
def start(workspace: Any, config: Any, fake_engine: Callable[..., None]) -> Callable[..., Run]:
    """Start a run of the fake engine in one of its modes, and wait until it has reported `until` losses."""

    def start(mode: str, until: int = 0, **options: object) -> Run:
        fake_engine(mode, **options)
        run = runs.start(workspace, config.name, asked=None)
        assert wait_until(lambda: len(run.metrics().read()) >= until, PATIENCE), run.job.log_tail()
        return run

    return start
