"""Nothing of a job is left when it is over, however it ends."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from core.ground.files import read_json, write_json
from core.ground.workspace import PROJECT
from core.jobs.job import Job, Status, wait_until
from tests.conftest import ended
from tests.core.conftest import PATIENCE, alive, number_in

ORPHAN = """
import subprocess, sys, time
subprocess.Popen(
    ["sh", "-c", 'trap "" TERM; echo $$ > "$1.partial"; mv "$1.partial" "$1"; exec sleep 600', "sh", sys.argv[1]],
    start_new_session=sys.argv[2] == "own session",
)
while len(sys.argv) > 3:
    time.sleep(60)
import os
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
"""


def test_orphan_in_a_session_of_its_own_is_gone_after_the_end(start, tmp_path):
    job = start(ORPHAN, str(tmp_path / "pid"), "own session")
    pid = number_in(tmp_path / "pid")
    assert ended(job) is Status.FINISHED
    assert not alive(pid)


def test_orphan_is_gone_after_a_stop(start, tmp_path):
    job = start(ORPHAN, str(tmp_path / "pid"), "own session", "stay")
    pid = number_in(tmp_path / "pid")
    assert job.stop(discard=True) is Status.KILLED
    assert not alive(pid)


def test_kill_9_of_the_supervisor(forever):
    job = forever()
    command = job.pids["command"].pid
    os.kill(job.pids["supervisor"].pid, signal.SIGKILL)
    assert wait_until(lambda: not job.status().live, 5)
    assert job.status() is Status.CRASHED
    assert wait_until(lambda: not alive(command), 5)


def test_kill_9_of_the_supervisor_leaves_no_grandchild(start, tmp_path):
    """The kernel ends the command with its parent, but not the processes that the command started."""
    job = start(ORPHAN, str(tmp_path / "pid"), "own session", "stay")
    pid = number_in(tmp_path / "pid")
    os.kill(job.pids["supervisor"].pid, signal.SIGKILL)
    assert wait_until(lambda: not job.status().live, 5)
    assert wait_until(lambda: not alive(pid), 5)


def test_sigterm_to_the_supervisor_is_a_stop(forever):
    job = forever()
    os.kill(job.pids["supervisor"].pid, signal.SIGTERM)
    assert ended(job) is Status.KILLED
    assert not alive(job.pids["command"].pid)
    assert job.exit["returncode"] == -signal.SIGTERM


def supervise(directory: Path) -> None:
    subprocess.run([sys.executable, "-m", "core.jobs.supervisor", str(directory)], cwd=PROJECT, check=True)


def asked(directory: Path, source: str) -> Job:
    """Return a job that nobody has started yet."""
    write_json(
        directory / "job.json",
        {
            "kind": "test",
            "argv": [sys.executable, "-c", source],
            "env": {},
            "artefacts": [],
            "telemetry": None,
            "created": time.time(),
        },
    )
    return Job(directory)


@pytest.mark.usefixtures("start")
def test_two_supervisors_on_one_directory_run_it_once(tmp_path):
    count = tmp_path / "count"
    job = asked(tmp_path / "jobs" / "test-1", f"import time; open({str(count)!r}, 'a').write('x'); time.sleep(0.5)")
    threads = [threading.Thread(target=supervise, args=(job.directory,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wait_until(lambda: job.exit is not None, PATIENCE)
    assert job.status() is Status.FINISHED
    # One that comes late finds the work done.
    supervise(job.directory)
    time.sleep(0.5)
    assert count.read_text() == "x"


@pytest.mark.usefixtures("start")
def test_supervisor_starts_while_others_look_at_the_status(tmp_path):
    """Checking the status takes the lock for a moment; that must not keep the supervisor from starting."""
    job = asked(tmp_path / "jobs" / "test-1", "pass")
    with (job.directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        supervise(job.directory)
        time.sleep(0.4)
        assert job.exit is None
    assert wait_until(lambda: job.exit is not None, PATIENCE)
    assert job.status() is Status.FINISHED


def test_pids_are_proven_by_their_start_time(forever):
    job = forever()
    told = read_json(job.directory / "pid.json")
    stat = Path(f"/proc/{told['command']['pid']}/stat").read_text()
    assert told["command"]["start"] == int(stat[stat.rfind(")") + 2 :].split()[19])
    assert told["command"]["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
