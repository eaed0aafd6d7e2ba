"""Samples of the machine beside a job."""

import json
import os

from core.jobs.job import Status, wait_until
from core.jobs.telemetry import sample
from tests.core.jobs.conftest import PATIENCE


def test_sample_of_this_process():
    found = sample(os.getpid(), {})
    assert found["process_mb"] > 5
    assert found["memory_total_mb"] > found["memory_mb"] > 0
    assert isinstance(found["gpus"], list)


def test_sample_of_a_process_that_is_gone():
    assert sample(2**22 + 1, {})["process_mb"] == 0


def test_job_writes_samples_while_it_runs(start, tmp_path):
    path = tmp_path / "telemetry.jsonl"
    job = start("import time; time.sleep(60)", telemetry=path)
    assert wait_until(lambda: path.exists() and path.read_text().endswith("\n"), PATIENCE)
    assert json.loads(path.read_text().splitlines()[0])["process_mb"] > 0
    assert job.stop(discard=True) is Status.KILLED
