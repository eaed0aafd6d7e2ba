"""Why a job failed: one log for each reason with its own message."""

import time

import pytest

from core.engine.failures.reasons import reason
from core.ground.files import write_json
from core.jobs.job import Job, Status
from tests.conftest import read_by_us


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """A job's directory after it has ended."""
    monkeypatch.setenv("XTUNER_STUDIO_LANG", "en")

    def ended(log: str = "", returncode: int | None = 1, artefacts: tuple[str, ...] = ()) -> Job:
        job = Job(tmp_path / "test-1")
        write_json(job.directory / "job.json", {"created": time.time() - 60, "artefacts": list(artefacts)})
        if returncode is not None:
            write_json(job.directory / "exit.json", {"returncode": returncode, "ended": time.time(), "error": None})
        job.log.write_text(f"Traceback (most recent call last):\n  File x\n{log}\n")
        return job

    return ended


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "out of GPU memory"),
        ("ValueError: something of its own", "ValueError: something of its own"),
        ("some.module.OddError: something of its own", "some.module.OddError: something of its own"),
        ("nothing that is known", "it exited with code 1: nothing that is known"),
    ],
)
def test_reason_of_a_log(ended, log, words):
    found = reason(ended(log))
    assert words in found.en
    assert found.zh


def test_an_error_far_from_the_end_of_a_long_log(ended):
    """Other processes keep logging after one has failed."""
    job = ended("torch.OutOfMemoryError: CUDA out of memory. Tried")
    with job.log.open("a") as log:
        log.writelines(f"11/24 06:38:59 - mmengine - INFO - Iter(train) [{n}/9]\n" for n in range(10_000))
    assert "out of GPU memory" in reason(job).en


def test_a_log_of_half_a_gigabyte_costs_nothing(ended):
    job = ended("torch.OutOfMemoryError: CUDA out of memory. Tried")
    whole = job.log.read_bytes()
    with job.log.open("wb") as log:
        log.truncate(500_000_000)
        log.seek(0, 2)
        log.write(b"\n" + whole)
    before = read_by_us()
    assert "out of GPU memory" in reason(job).en
    assert read_by_us() - before < 20_000_000


def test_the_last_error_counts(ended):
    found = reason(ended("ValueError: first\nTraceback\nKeyError: second"))
    assert found.en == "KeyError: second"


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        ({"oom_kills": 1}, "the kernel killed the training"),
        ({"oom_kills": None}, "most likely out of memory"),
        ({}, "most likely out of memory"),
        ({"oom_kills": 0}, "ended it with SIGKILL; memory was not the reason"),
        ({"oom_kills": 0, "free_bytes": 1000}, "the disk is full"),
    ],
)
def test_killed_without_a_word(ended, evidence, words):
    job = ended(returncode=-9)
    write_json(job.directory / "exit.json", {**job.exit, **evidence})
    assert words in reason(job).en


@pytest.mark.parametrize(
    ("kills", "words"), [(0, "ended it with SIGKILL; memory was not"), (1, "out of memory"), (None, "out of memory")]
)
def test_a_rank_that_was_killed(ended, kills, words):
    job = ended("torch.distributed.elastic...: exitcode  : -9 (pid: 4244)\nSignal 9 (SIGKILL) received by PID 4244")
    write_json(job.directory / "exit.json", {**job.exit, "oom_kills": kills})
    assert words in reason(job).en


def test_a_signal_from_outside(ended):
    assert "SIGTERM" in reason(ended(returncode=-15)).en


def test_stopped(ended):
    job = ended("ValueError: x", returncode=-15)
    write_json(job.directory / "stop.json", {})
    assert reason(job).en == "stopped on request"


def test_crashed(ended):
    job = ended(returncode=None)
    write_json(job.directory / "pid.json", {})
    assert job.status() is Status.CRASHED
    assert "supervisor was killed" in reason(job).en
    (job.directory / "pid.json").unlink()
    assert "while it was queued" in reason(job).en


def test_nothing_was_made(ended):
    assert "/x/iter_12.pth" in reason(ended(returncode=0, artefacts=("/x/iter_12.pth",))).en


def test_none_while_it_runs_and_when_it_finished(ended, forever):
    assert reason(ended(returncode=0)) is None
    assert reason(forever()) is None


def test_a_line_without_end_takes_no_longer_for_it(ended):
    """Fifty thousand repetitions of what a pattern may begin with, on one line, followed by the cause."""
    began = time.thread_time()
    for word in ("(", ": ", "a ", "1/", "Error ", "'"):
        found = reason(
            ended(word * 50_000 + "\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.")
        )
        assert "out of GPU memory" in found.en
    assert time.thread_time() - began < 10


@pytest.mark.parametrize(
    ("returncode", "words"), [(0, "saved and stopped"), (-9, "before it had saved"), (None, "before")]
)
def test_saved_before_slurms_time_limit_only_if_it_ended_well(ended, returncode, words):
    job = ended("", returncode)
    write_json(job.directory / "stop.json", {"grace": 90.0, "why": "time limit"})
    write_json(job.directory / "pid.json", {"started": 1.0})
    if returncode is None:
        # Slurm says that it has ended, and nobody was left to write the result.
        (job.directory / "batch.sh").touch()
        write_json(job.directory / "slurm.json", {"id": 7, "state": "TIMEOUT"})
    assert job.status() is Status.KILLED
    assert words in reason(job).en


WAITED = "srun: Requested partition configuration not available now\nsrun: job 7 queued and waiting for resources\n"
ALLOCATED = "srun: job 7 has been allocated resources\n"
REFUSED = "srun: error: Unable to allocate resources: Invalid account\n"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (WAITED + ALLOCATED + "ValueError: its own", "ValueError: its own"),
        (WAITED + "nothing that is known", "it exited with code 1: nothing that is known"),
        (REFUSED + ALLOCATED + "ValueError: its own", "ValueError: its own"),
        (REFUSED + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "out of GPU memory"),
        (REFUSED, "Slurm refused it: Invalid account"),
    ],
)
def test_refused_by_slurm_only_if_it_never_began(ended, log, words):
    assert words in reason(ended(log)).en
