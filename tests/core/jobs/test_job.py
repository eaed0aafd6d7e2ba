"""A job runs independently of whoever started it, and its directory determines its status."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from core.ground.clock import Moment, since_boot
from core.ground.errors import WorkFailed
from core.ground.files import read_json, write_json
from core.ground.workspace import PROJECT
from core.jobs import job as job_module
from core.jobs import numbered as numbered_module
from core.jobs.job import Job, Status, jobs_in, latest_job, wait_until
from core.jobs.numbered import next_directory
from tests.conftest import ended
from tests.core.conftest import PATIENCE, alive, number_in, tell_pid


def test_finished(start, tmp_path):
    job = start("print('hello')", facts={"what": "小明"})
    assert ended(job) is Status.FINISHED
    assert job.log_tail() == "hello\n"
    assert job.exit["returncode"] == 0
    assert job.exit["ended"] == pytest.approx(time.time(), abs=PATIENCE)
    assert 0 < job.seconds < PATIENCE
    assert job.spec["facts"] == {"what": "小明"}
    assert (job.name, job.directory) == ("test-1", tmp_path / "jobs" / "test-1")
    assert wait_until(lambda: not any(alive(identity.pid) for identity in job.pids.values()), PATIENCE)


def test_failed(start):
    job = start("raise SystemExit(3)")
    assert ended(job) is Status.FAILED
    assert job.exit["returncode"] == 3


def test_finished_needs_the_artefacts(start, tmp_path):
    here, missing = tmp_path / "here", tmp_path / "missing"
    source = f"open({str(here)!r}, 'w').close()"
    assert start(source, artefacts=[here]).wait(PATIENCE) is Status.FINISHED
    assert start(source, artefacts=[here, missing]).wait(PATIENCE) is Status.FAILED


def test_running_then_stopped(forever):
    job = forever()
    assert job.status() is Status.RUNNING
    assert job.exit is None
    assert job.pids["command"].alive()
    assert job.pids["supervisor"].alive()
    assert job.stop(grace=0.1) is Status.KILLED
    assert not alive(job.pids["command"].pid)
    assert wait_until(lambda: not alive(job.pids["supervisor"].pid), PATIENCE)
    assert read_json(job.directory / "stop.json")["discard"] is False


def test_stop_asks_first(start):
    """The command sees the stop request, and what it does then is kept."""
    job = start(
        "import os, time, sys\n"
        "while not os.path.exists(os.environ['XTUNER_STUDIO_STOP']): time.sleep(0.01)\n"
        "print('saved', flush=True)"
    )
    assert job.stop(grace=PATIENCE) is Status.KILLED
    assert job.exit["returncode"] == 0
    assert "saved" in job.log_tail()


def test_discard_does_not_wait(start, tmp_path):
    source = f"import signal, time\n{tell_pid(tmp_path / 'pid')}\nwhile True: time.sleep(60)"
    job = start(source)
    number_in(tmp_path / "pid")
    job.ask_to_stop(discard=True, grace=10 * PATIENCE)
    assert ended(job) is Status.KILLED
    assert job.exit["returncode"] == -signal.SIGTERM


def test_stop_of_a_command_that_heeds_nothing(start, tmp_path):
    source = f"import signal, time\nsignal.signal(15, signal.SIG_IGN)\n{tell_pid(tmp_path / 'pid')}\nwhile True: time.sleep(60)"
    job = start(source)
    pid = number_in(tmp_path / "pid")
    assert job.stop(grace=0.2) is Status.KILLED
    assert job.exit["returncode"] == -signal.SIGKILL
    assert not alive(pid)


def test_a_wish_to_stop_that_comes_too_late_changes_nothing(start):
    job = start("import sys; print('MemoryError'); sys.exit(3)")
    job.wait(PATIENCE)
    job.ask_to_stop()
    job.ask_to_stop(discard=True)
    assert job.status() is Status.FAILED
    assert not job.stopping


def test_stopping_what_is_over_changes_nothing(start):
    job = start("pass")
    ended(job)
    assert job.stop() is Status.FINISHED
    assert not (job.directory / "stop.json").exists()


def test_second_wish_does_not_change_the_first(forever):
    job = forever()
    job.ask_to_stop(grace=30)
    asked = (job.directory / "stop.json").read_text()
    job.ask_to_stop(grace=60)
    assert (job.directory / "stop.json").read_text() == asked


def test_a_harder_wish_takes_the_place_of_the_first(forever):
    job = forever()
    job.ask_to_stop(grace=10 * PATIENCE)
    job.ask_to_stop(discard=True)
    assert ended(job) is Status.KILLED


@pytest.mark.parametrize(("patience", "takes", "returncode"), [(0, 600, -signal.SIGTERM), (600, 1.5, 0)])
def test_a_command_that_asks_for_patience_is_given_it(start, patience, takes, returncode):
    """Saving takes longer than the grace period; a command that announces it is not cut short."""
    job = start(
        "import json, os, time\n"
        f"json.dump({{'patience': {patience}}}, open(os.environ['XTUNER_STUDIO_PROGRESS'], 'w'))\n"
        "while not os.path.exists(os.environ['XTUNER_STUDIO_STOP']): time.sleep(0.01)\n"
        f"time.sleep({takes})"
    )
    assert wait_until(lambda: "patience" in job.progress, PATIENCE)
    assert job.stop(grace=0.3) is Status.KILLED
    assert job.exit["returncode"] == returncode


def test_signs_of_life_give_more_time(start):
    job = start(
        "import json, os, time\n"
        "while not os.path.exists(os.environ['XTUNER_STUDIO_STOP']): time.sleep(0.01)\n"
        "for i in range(80):\n"
        "    json.dump({'done': i}, open(os.environ['XTUNER_STUDIO_PROGRESS'], 'w'))\n"
        "    time.sleep(0.1)"
    )
    assert job.stop(grace=6) is Status.KILLED
    assert job.exit["returncode"] == 0


def test_kill_9_of_the_command(forever):
    job = forever()
    os.kill(job.pids["command"].pid, signal.SIGKILL)
    assert job.wait(PATIENCE) is Status.FAILED
    assert job.exit["returncode"] == -signal.SIGKILL


def test_command_not_found(tmp_path):
    job = Job.start(tmp_path / "jobs", "test", ["/no/such/program", "x"])
    assert job.status() is Status.FAILED
    assert job.exit["returncode"] == 127
    assert "/no/such/program" in job.exit["error"]
    assert "/no/such/program" in job.log_tail()


def test_environment_and_arguments_arrive_unchanged(start, tmp_path):
    odd = [
        "a b",
        "'single' \"double\"",
        "line\nbreak",
        "; rm -rf x",
        "$(touch x) `y` $HOME",
        "小明 😀",
        "",
        "--flag",
        "*",
    ]
    out = tmp_path / "with 'quotes' ; and space"
    source = (
        "import json, os, sys\njson.dump([sys.argv[2:], os.environ['ODD'], os.environ['KEPT']], open(sys.argv[1], 'w'))"
    )
    job = start(source, str(out), *odd, env={"ODD": "\n".join(odd), "KEPT": "1"})
    assert ended(job) is Status.FINISHED
    assert json.loads(out.read_text()) == [odd, "\n".join(odd), "1"]


def test_jobs_directory_with_an_odd_name(tmp_path):
    jobs = tmp_path / "a 'b' \"c\" ; d\ne 小明"
    job = Job.start(jobs, "test", [sys.executable, "-c", "print(1)"])
    assert ended(job) is Status.FINISHED


def test_command_has_no_input_and_a_group_of_its_own(start):
    job = start("import os, sys\nprint(repr(sys.stdin.read()), os.getpgrp() == os.getpid(), os.getsid(0))")
    ended(job)
    words = job.log_tail().split()
    assert words[:2] == ["''", "True"]
    assert int(words[2]) != os.getsid(0)


def test_progress_is_what_the_command_says(start):
    source = "import json, os\njson.dump({'done': 0.5, 'note': 'x'}, open(os.environ['XTUNER_STUDIO_PROGRESS'], 'w'))"
    job = start(source)
    assert ended(job) is Status.FINISHED
    assert job.progress == {"done": 0.5, "note": "x"}


def test_wait_tells_progress_and_gives_up_in_time(forever):
    job, told = forever(), []
    assert job.wait(2, on_progress=told.append) is Status.RUNNING
    assert len(told) >= 2
    assert set(told) == {job}


@pytest.mark.usefixtures("start")
def test_job_outlives_the_process_that_started_it(tmp_path):
    """Started by a process that is then killed with its entire group, as a server may be."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom core.jobs.job import Job\n"
        f"Job.start(Path({str(tmp_path / 'jobs')!r}), 'test', [sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('started', flush=True)\ntime.sleep(600)"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert server.stdout.readline() == "started\n"
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    server.stdout.close()
    job = latest_job(tmp_path / "jobs", "test")
    time.sleep(0.3)
    assert job.status() is Status.RUNNING
    assert job.pids["command"].alive()
    assert job.stop(discard=True) is Status.KILLED


def test_status_of_a_directory_with_job_json_alone(tmp_path):
    job = Job(tmp_path / "test-1")
    write_json(job.directory / "job.json", {"asked": Moment.now().to_json()})
    assert job.status() is Status.PENDING
    write_json(job.directory / "job.json", {"asked": {"boot": Moment.now().boot, "at": since_boot() - 3600}})
    assert job.status() is Status.CRASHED
    assert job.pids == {"supervisor": None, "command": None}
    assert job.seconds == 0


def test_a_directory_appears_with_its_job_json(tmp_path, monkeypatch):
    seen = []

    def write(file, value):
        seen.append(jobs_in(tmp_path / "jobs"))
        write_json(file, value)

    monkeypatch.setattr(numbered_module, "write_json", write)
    made = next_directory(tmp_path / "jobs", "test", {"asked": Moment.now().to_json()})
    assert seen == [[]]
    assert jobs_in(tmp_path / "jobs") == [Job(made)]
    assert Job(made).status() is Status.PENDING
    assert made.stat().st_mode & 0o777 == 0o700


def test_status_of_nothing(tmp_path):
    assert Job(tmp_path / "no-1").status() is Status.CRASHED


@pytest.mark.parametrize(
    ("returncode", "stopped", "artefact", "status"),
    [
        (0, False, True, Status.FINISHED),
        (0, False, False, Status.FAILED),
        (1, False, True, Status.FAILED),
        (-9, False, True, Status.FAILED),
        (-15, True, True, Status.KILLED),
        (0, True, False, Status.KILLED),
    ],
)
def test_status_of_what_ended(tmp_path, returncode, stopped, artefact, status):
    job = Job(tmp_path / "test-1")
    made = tmp_path / "made"
    write_json(job.directory / "job.json", {"created": 0, "artefacts": [str(made)]})
    write_json(job.directory / "exit.json", {"returncode": returncode, "ended": 1.0, "error": None})
    if stopped:
        write_json(job.directory / "stop.json", {})
    if artefact:
        made.touch()
    assert job.status() is status


def test_supervisor_that_does_not_come_up(tmp_path, monkeypatch):
    monkeypatch.setattr(job_module, "STARTING_SECONDS", 0.2)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorkFailed) as failed:
        Job.start(tmp_path / "jobs", "test", ["true"])
    assert "log.txt" in str(failed.value)


def test_jobs_are_numbered_and_found_by_kind(tmp_path):
    for name in ("train-1", "train-2", "train-10", "export-1", "train-x", "demo_model-1"):
        (tmp_path / name).mkdir()
    assert [job.name for job in jobs_in(tmp_path, "train")] == ["train-1", "train-2", "train-10"]
    assert latest_job(tmp_path, "train").name == "train-10"
    assert latest_job(tmp_path, "demo") is None
    assert len(jobs_in(tmp_path)) == 5
    assert jobs_in(tmp_path / "missing") == []


def test_starting_several_gives_each_a_directory(start):
    started = [start("pass") for _ in range(3)]
    assert [job.name for job in started] == ["test-1", "test-2", "test-3"]
    assert all(ended(job) is Status.FINISHED for job in started)


def test_wait_until():
    assert wait_until(lambda: True, 0)
    assert not wait_until(lambda: False, 0.05)


def test_time_of_a_crashed_job_stands_still(forever):
    job = forever()
    os.kill(job.pids["supervisor"].pid, signal.SIGKILL)
    assert job.wait(PATIENCE) is Status.CRASHED
    first = job.seconds
    time.sleep(0.2)
    assert job.seconds == first
