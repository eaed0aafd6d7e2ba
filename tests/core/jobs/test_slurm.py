"""Slurm's side of a job, with stand-ins for its commands; `tests/e2e/test_slurm.py` has the real ones."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.ground.errors import BadInput
from core.ground.files import write_json
from core.ground.workspace import PROJECT
from core.jobs import slurm, slurm_commands, supervisor
from core.jobs.job import Job, Status
from tests.conftest import PATIENCE

# Each command notes its words and does what the file of its name says.
COMMAND = """#!/bin/sh
echo "$(basename $0) $*" >> {0}/asked
env > {0}/environment-$(basename $0)
. {0}/$(basename $0).do
"""
REFUSAL = "echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1"
UNREACHED = "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1"


class Fakes:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("sbatch", "squeue", "scancel"):
            (directory / name).write_text(COMMAND.format(directory))
            (directory / name).chmod(0o755)
        self.do(sbatch="echo 7", squeue="echo 'PENDING|Resources|lab|'", scancel="true")

    def do(self, **scripts: str) -> None:
        for name, script in scripts.items():
            (self.directory / f"{name}.do").write_text(script)

    def asked(self, name: str) -> list[str]:
        return [line for line in self._lines("asked") if line.startswith(f"{name} ")]

    def environment(self, name: str) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self._lines(f"environment-{name}") if "=" in line)

    def _lines(self, file: str) -> list[str]:
        there = self.directory / file
        return there.read_text().splitlines() if there.exists() else []


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setattr(slurm, "_WAITING_SECONDS", 0.0)
    for module in (slurm, slurm_commands):
        monkeypatch.setattr(module, "SILENT_SECONDS", PATIENCE)
    monkeypatch.setattr(slurm_commands, "_silence", None)
    return Fakes(tmp_path / "bin")


def submitted(tmp_path: Path) -> Job:
    return Job.start(tmp_path / "run" / "jobs", "train", ["true"], sbatch=["--mem=1G"])


def told(job: Job) -> dict:
    return json.loads((job.directory / slurm.FILE).read_text())


@pytest.mark.parametrize("words", ["7", "7;studio", "Welcome to the cluster\\n12 jobs are waiting\\n99\\n7;studio"])
def test_the_number_is_in_the_last_line_that_is_one(fakes, tmp_path, words):
    fakes.do(sbatch=f"printf '{words}\\n'")
    job = submitted(tmp_path)
    assert told(job)["id"] == 7
    assert "--job-name=" + told(job)["name"] in fakes.asked("sbatch")[0]


@pytest.mark.parametrize(
    ("script", "words"), [(REFUSAL, "Invalid account"), ("echo slurm 22.05", "slurm 22.05"), ("exit 3", "refused|拒绝")]
)
def test_what_was_not_submitted_leaves_nothing(fakes, tmp_path, script, words):
    fakes.do(sbatch=script, squeue="true")
    with pytest.raises(BadInput, match=words):
        submitted(tmp_path)
    assert not list((tmp_path / "run" / "jobs").glob("train-*"))


def test_sbatch_was_not_heard_to_end(fakes, tmp_path, monkeypatch):
    """Slurm has the job, or not, or does not say: then it is kept, and found when Slurm answers."""
    monkeypatch.setattr(slurm, "_SUBMIT_SECONDS", 0.5)
    fakes.do(sbatch="exec sleep 9", squeue="echo 31")
    job = submitted(tmp_path)
    assert told(job)["id"] == 31
    assert f"squeue --me --name={told(job)['name']} --noheader --format=%i" in fakes.asked("squeue")
    fakes.do(squeue="true")
    with pytest.raises(BadInput, match="not submitted|没有提交"):
        submitted(tmp_path)
    assert "scancel --name=" in fakes.asked("scancel")[-1]
    fakes.do(squeue=UNREACHED)
    unsure = submitted(tmp_path)
    assert (told(unsure)["id"], unsure.status()) == (None, Status.PENDING)
    assert unsure.slurm.silent_since
    assert told(unsure)["name"] != told(job)["name"]
    monkeypatch.setattr(slurm_commands, "_silence", None)
    monkeypatch.setattr(slurm, "SILENT_SECONDS", 0.0)
    fakes.do(squeue="case $* in *--name=*) echo 32 ;; *) echo 'RUNNING|None|lab|n1' ;; esac")
    assert (unsure.slurm.id, unsure.slurm.state, unsure.slurm.silent_since) == (32, "RUNNING", None)


def test_a_full_disk_leaves_no_job_in_slurm(fakes, tmp_path, monkeypatch):
    written = []

    def once(path: Path, value: object) -> None:
        written.append(path)
        if len(written) > 1:
            raise OSError(28, "No space left on device")
        write_json(path, value)

    monkeypatch.setattr(slurm, "write_json", once)
    with pytest.raises(OSError, match="No space"):
        submitted(tmp_path)
    assert "scancel --name=xtuner-run-train-1-" in fakes.asked("scancel")[0]
    assert not list((tmp_path / "run" / "jobs").glob("train-*"))


def test_a_cancel_that_slurm_did_not_hear_is_repeated(fakes, tmp_path, monkeypatch):
    job = submitted(tmp_path)
    fakes.do(scancel=UNREACHED, squeue=UNREACHED)
    assert job.status() is Status.PENDING
    job.ask_to_stop(discard=True)
    assert len(fakes.asked("scancel")) == 1
    monkeypatch.setattr(slurm_commands, "_silence", None)
    monkeypatch.setattr(slurm, "SILENT_SECONDS", 0.0)
    fakes.do(scancel="true", squeue="echo 'PENDING|Resources|lab|'")
    assert job.slurm.waiting
    assert fakes.asked("scancel") == ["scancel 7"] * 2
    fakes.do(squeue="echo 'CANCELLED|None|lab|'")
    monkeypatch.setattr(slurm, "_LAG_SECONDS", 0.0)
    assert job.status() is Status.KILLED


@pytest.mark.usefixtures("fakes")
def test_a_node_looks_first_whether_it_is_wanted(tmp_path):
    job = submitted(tmp_path)
    supervisor.main_within_slurm(job.directory, "another job that had this directory")
    assert not (job.directory / "exit.json").exists()
    write_json(job.directory / "stop.json", {"grace": 0.0})
    supervisor.main_within_slurm(job.directory, told(job)["name"])
    assert job.exit["returncode"] is None
    assert not job.begun
    assert job.status() is Status.KILLED


@pytest.mark.usefixtures("fakes")
def test_what_slurm_gave_the_job_its_step_gets_too(tmp_path):
    """Since 22.05 srun takes no more than one CPU a task by itself."""
    seen = ["sh", "-c", "echo cpus $SRUN_CPUS_PER_TASK; echo token $SLURM_JWT"]
    job = Job.start(tmp_path / "run" / "jobs", "train", seen, sbatch=[])
    words = [sys.executable, "-m", "core.jobs.supervisor", str(job.directory), "--within-slurm", told(job)["name"]]
    subprocess.run(
        words, env={**os.environ, "SLURM_CPUS_PER_TASK": "6", "SLURM_JWT": "secret"}, check=True, cwd=PROJECT
    )
    assert job.exit["returncode"] == 0
    assert job.log.read_text() == "cpus 6\ntoken\n"


def test_the_users_settings_and_token_reach_slurms_commands_alone(fakes, tmp_path, monkeypatch):
    for name in ("SLURM_JWT", "SBATCH_ACCOUNT", "SLURM_ACCOUNT", "SLURM_JOB_ID", "SBATCH_WAIT"):
        monkeypatch.setenv(name, f"the {name}")
    job = submitted(tmp_path)
    seen = fakes.environment("sbatch")
    assert (seen["SLURM_JWT"], seen["SBATCH_ACCOUNT"]) == ("the SLURM_JWT", "the SBATCH_ACCOUNT")
    assert not {"SLURM_JOB_ID", "SBATCH_WAIT"} & set(seen)
    assert "unset SLURM_JWT" in (job.directory / "batch.sh").read_text()
    slurm.check([], srun=True)
    assert fakes.environment("sbatch")["SBATCH_ACCOUNT"] == "the SLURM_ACCOUNT"


def test_one_reader_asks_at_a_time_and_silence_counts_for_all(fakes, tmp_path):
    first, second = submitted(tmp_path), submitted(tmp_path)
    with slurm._claim(first.directory) as ours:
        assert ours
        assert first.slurm.id == 7
        assert fakes.asked("squeue") == []
    assert first.slurm.why == "Resources"
    fakes.do(squeue=UNREACHED)
    began = time.time()
    assert first.slurm.silent_since
    before = len(fakes.asked("squeue"))
    assert second.slurm.silent_since
    assert len(fakes.asked("squeue")) == before
    assert began <= second.slurm.silent_since <= time.time()
