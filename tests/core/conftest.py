"""Small commands to run as jobs, and checks of what is left of them."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.jobs.job import Job, wait_until
from tests.conftest import PATIENCE, stop_jobs


def alive(pid: int) -> bool:
    """Return whether the process exists and is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rfind(")") + 2] not in "ZX"


def number_in(path: Path) -> int:
    """Wait for the number that a job's command writes to `path`."""
    assert wait_until(lambda: path.exists() and path.read_text().strip(), PATIENCE), f"{path} was never written"
    return int(path.read_text())


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start Python source as a job: `start("print(1)")`. Jobs still running at the end are stopped."""
    monkeypatch.setenv("XTUNER_STUDIO_LANG", "en")

    def start(source: str, *arguments: str, **options: object) -> Job:
        return Job.start(tmp_path / "jobs", "test", [sys.executable, "-c", source, *arguments], **options)

    yield start
    stop_jobs(tmp_path)


@pytest.fixture
def forever(start) -> Callable[[], Job]:
    """Start a job that never ends by itself."""
    return lambda: start("import time\nprint('here', flush=True)\nwhile True: time.sleep(60)")


def tell_pid(path: Path) -> str:
    """Return source that writes the process's pid to `path` atomically."""
    return (
        "import os, pathlib\n"
        f"p = pathlib.Path({os.fspath(path)!r}); q = p.with_suffix('.partial')\n"
        "q.write_text(str(os.getpid())); q.rename(p)\n"
    )
