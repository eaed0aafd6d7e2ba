"""Why a job failed: one log for each reason that has words of its own."""

import re
import time

import pytest

from core.ground.files import write_json
from core.jobs.job import Job, Status
from core.jobs.reasons import _PATTERNS, reason

# What each log ends with, and what the learner is told in English.
CASES = [
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "out of GPU memory"),
    ("torch.cuda.OutOfMemoryError: allocation failed", "out of GPU memory"),
    ("OSError: [Errno 28] No space left on device", "the disk is full"),
    ("ValueError: end should be larger than begin, but got begin=0, end=0", "warm-up has zero iterations"),
    ("bitsandbytes was compiled without GPU support. 8-bit", "4-bit weights need a CUDA GPU"),
    ("RuntimeError: CUDA is required but not available for bitsandbytes.", "4-bit weights need a CUDA GPU"),
    ("RuntimeError: No GPU found. A GPU is needed for quantization.", "4-bit weights need a CUDA GPU"),
    ("ValueError: this kernel requires a GPU for quantization", "4-bit weights need a CUDA GPU"),
    ("ModuleNotFoundError: No module named 'deepspeed.ops'", "the Python package deepspeed.ops is missing"),
    ("FileNotFoundError: [Errno 2] No such file or directory: '/x/data.json'", "'/x/data.json'; check the paths"),
    ("json.decoder.JSONDecodeError: Expecting value: line 1", "the data file cannot be read: Expecting value"),
    ("datasets.exceptions.DatasetGenerationError: An error occurred", "the data file cannot be read"),
    ("pyarrow.lib.ArrowInvalid: JSON parse error: {name}", "JSON parse error: {name}"),
    ("RuntimeError: The server socket failed: EADDRINUSE", "the port for several processes is taken"),
    ("OSError: [Errno 98] Address already in use\nerrno: 98 - address already in use", "the port for several"),
    ("ValueError: something of its own", "ValueError: something of its own"),
    ("some.module.OddError: something of its own", "some.module.OddError: something of its own"),
    ("nothing that is known", "it ended with code 1"),
]


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """A job as it lies on disk after its end."""
    monkeypatch.setenv("XTUNER_STUDIO_LANG", "en")

    def ended(log: str = "", returncode: int | None = 1, artefacts: tuple[str, ...] = ()) -> Job:
        job = Job(tmp_path / "test-1")
        write_json(job.directory / "job.json", {"created": time.time() - 60, "artefacts": list(artefacts)})
        if returncode is not None:
            write_json(job.directory / "exit.json", {"returncode": returncode, "ended": time.time(), "error": None})
        job.log.write_text(f"Traceback (most recent call last):\n  File x\n{log}\n")
        return job

    return ended


@pytest.mark.parametrize(("log", "words"), CASES)
def test_reason_of_a_log(ended, log, words):
    found = reason(ended(log))
    assert words in found.en
    assert found.zh
    assert "{0}" not in found.zh + found.en


def test_every_pattern_has_a_case():
    for pattern, _ in _PATTERNS:
        assert any(re.search(pattern, log) for log, _ in CASES), pattern


def test_the_last_error_counts(ended):
    found = reason(ended("ValueError: first\nTraceback\nKeyError: second"))
    assert found.en == "KeyError: second"


def test_killed_by_the_kernel(ended):
    assert "memory ran out" in reason(ended(returncode=-9)).en


def test_stopped(ended):
    job = ended("ValueError: x", returncode=-15)
    write_json(job.directory / "stop.json", {})
    assert reason(job).en == "stopped as asked"


def test_crashed(ended):
    job = ended(returncode=None)
    assert job.status() is Status.CRASHED
    assert "supervisor was killed" in reason(job).en


def test_nothing_was_made(ended):
    assert "/x/iter_12.pth" in reason(ended(returncode=0, artefacts=("/x/iter_12.pth",))).en


def test_none_while_it_runs_and_when_it_finished(ended, forever):
    assert reason(ended(returncode=0)) is None
    assert reason(forever()) is None
