"""Samples of the machine during a job."""

import json
import os
import subprocess
import sys

import pytest

from core.jobs import telemetry
from core.jobs.job import Status, wait_until
from core.jobs.telemetry import Sampler
from tests.core.conftest import PATIENCE

CARD = {"index": 0, "instance": None, "slice": None, "name": "A100", "used_mb": 900, "total_mb": 81920,
        "utilisation": 37, "temperature": 51, "power_w": 120}  # fmt: skip


@pytest.fixture
def sampler(tmp_path):
    """Samples this process."""
    return Sampler(pid=os.getpid(), disk=tmp_path, progress=tmp_path / "progress.json")


def test_sample_of_this_process(sampler):
    first, second = sampler.sample(), sampler.sample()
    # A rate needs two samples.
    assert first["cpu"] is None
    assert first["process_cpu"] is None
    assert second["cpu"] >= 0
    assert second["process_cpu"] >= 0
    assert second["process_mb"] > 5
    assert second["memory_total_mb"] > second["memory_mb"] > 0
    assert second["disk_total_mb"] > second["disk_free_mb"] > 0
    assert os.getpid() in {process["pid"] for process in second["processes"]}
    assert second["iter"] is second["cuda"] is None


def test_processes_that_come_and_go(sampler):
    sampler.sample()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        seen = [{p["pid"] for p in sampler.sample()["processes"]} for _ in range(telemetry.ASK_AGAIN)]
        assert child.pid in seen[-1]
    finally:
        child.communicate(b"\n")
    assert child.pid not in {p["pid"] for p in sampler.sample()["processes"]}


def test_sample_of_a_process_that_is_gone(tmp_path):
    found = Sampler(pid=2**22 + 1, disk=tmp_path).sample()
    assert found["process_mb"] == 0
    assert found["processes"] == []


def test_what_the_trainer_says_of_itself(sampler, tmp_path):
    cuda = {"index": 0, "used_mb": 6000, "total_mb": 8182, "reserved_mb": 5500}
    (tmp_path / "progress.json").write_text(json.dumps({"note": "train", "iter": 7, "at": 1.5, "cuda": cuda}))
    found = sampler.sample()
    assert (found["iter"], found["at"], found["cuda"]) == (7, 1.5, cuda)


def test_gpu_memory_of_the_job_alone(sampler, monkeypatch):
    monkeypatch.setattr(telemetry, "gpus", lambda: [dict(CARD), {**CARD, "index": 1, "utilisation": None}])
    monkeypatch.setattr(telemetry, "memory_by_process", lambda: [{os.getpid(): 700, 1: 200}, {1: 50}])
    found = sampler.sample()
    assert [card["ours_mb"] for card in found["gpus"]] == [700, None]
    assert found["gpus"][1]["utilisation"] is None
    assert next(p for p in found["processes"] if p["pid"] == os.getpid())["gpu_mb"] == 700


def test_job_writes_samples_while_it_runs(start, tmp_path):
    path = tmp_path / "telemetry.jsonl"
    job = start(
        "import json, os, time\n"
        "json.dump({'iter': 3}, open(os.environ['XTUNER_STUDIO_PROGRESS'], 'w'))\n"
        "time.sleep(600)",
        telemetry=path,
    )
    assert wait_until(lambda: path.exists() and '"iter":3' in path.read_text(), PATIENCE)
    assert json.loads(path.read_text().splitlines()[-1])["process_mb"] > 0
    assert job.stop(discard=True) is Status.KILLED


def test_samples_go_on_after_an_error(tmp_path, monkeypatch):
    """As after a full disk has been cleared."""
    looks = iter([True, True, True, False])

    class Command:
        pid = os.getpid()

        def alive(self):
            return next(looks)

    sample = Sampler.sample

    def fails_once(_self):
        monkeypatch.setattr(Sampler, "sample", sample)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Sampler, "sample", fails_once)
    monkeypatch.setattr(telemetry, "EVERY_SECONDS", 0.0)
    telemetry.record(tmp_path / "telemetry.jsonl", Command(), tmp_path / "progress.json")
    assert len((tmp_path / "telemetry.jsonl").read_text().splitlines()) == 2
