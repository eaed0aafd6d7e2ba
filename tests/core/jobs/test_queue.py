"""Jobs wait for each other: one has its turn, the others follow in order, however the previous one ends."""

import os
import signal
import sys
import time

import pytest

from core.ground.clock import since_boot
from core.jobs.job import Job, Status, wait_until
from core.jobs.queue import Queue
from tests.conftest import ended, stop_jobs
from tests.core.conftest import PATIENCE, alive, number_in

FOREVER = "import time\nwhile True: time.sleep(60)"


@pytest.fixture
def queue(tmp_path):
    yield Queue(tmp_path / "queue")
    stop_jobs(tmp_path)


@pytest.fixture
def join(tmp_path, queue):
    def join(source: str = "pass", *arguments: str) -> Job:
        return Job.start(tmp_path / "jobs", "test", [sys.executable, "-c", source, *arguments], queue=queue.directory)

    return join


def test_alone_it_runs_at_once(queue, join):
    job = join(FOREVER)
    assert job.status() is Status.RUNNING
    assert queue.waiting() == []
    assert queue.current() == job
    assert queue.place(job) is None
    assert not (job.directory / "waiting.json").exists()


def test_one_at_a_time_in_their_order(queue, join, tmp_path):
    told, gate = tmp_path / "told", tmp_path / "gate"
    source = (
        "import os, sys, time\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        f"open({str(told)!r}, 'a').write(sys.argv[1] + '<'); time.sleep(0.1); open({str(told)!r}, 'a').write('>')"
    )
    jobs = [join(source, str(number)) for number in range(4)]
    assert queue.waiting() == jobs[1:]
    assert [queue.place(job) for job in jobs] == [None, 1, 2, 3]
    queue.move(jobs[3], 1)
    gate.touch()
    assert [ended(job) for job in jobs] == [Status.FINISHED] * 4
    assert told.read_text() == "0<>3<>1<>2<>"
    assert wait_until(lambda: queue.current() is None, PATIENCE)


@pytest.mark.parametrize("how", ["kill command", "kill supervisor", "stop"])
def test_the_next_one_begins_whatever_ended_the_one_before(queue, join, how):
    first, second = join(FOREVER), join(FOREVER)
    assert second.status() is Status.PENDING
    assert second.seconds == 0
    assert second.pids["supervisor"].alive()
    before = since_boot()
    if how == "stop":
        first.stop(discard=True)
    else:
        os.kill(first.pids[how.partition(" ")[2]].pid, signal.SIGKILL)
    assert wait_until(lambda: second.status() is Status.RUNNING, PATIENCE)
    assert queue.current() == second
    assert 0 <= second.seconds <= since_boot() - before, "counted from its own beginning"


def test_right_after_the_end_of_another_it_does_not_wait(join):
    for _ in range(3):
        job = join()
        assert not (job.directory / "waiting.json").exists()
        assert ended(job) is Status.FINISHED


def test_what_the_one_before_left_is_ended_first(join, tmp_path):
    """Its supervisor and guard are killed, so that nobody is left to end what it had started."""
    script = 'trap "" TERM; echo $$ > "$1.partial"; mv "$1.partial" "$1"; exec sleep 600'
    source = f"import subprocess, sys, time\nsubprocess.Popen(['sh', '-c', {script!r}, 'sh', sys.argv[1]], start_new_session=True)\ntime.sleep(600)"
    first = join(source, str(tmp_path / "pid"))
    left = number_in(tmp_path / "pid")
    supervisor = first.pids["supervisor"].pid
    with open(f"/proc/{supervisor}/stat") as stat:
        guard = int(stat.read().rsplit(")", 1)[1].split()[1])
    os.kill(guard, signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)
    assert first.wait(PATIENCE) is Status.CRASHED
    assert alive(left)
    second = join(FOREVER)
    assert wait_until(lambda: second.status() is Status.RUNNING, PATIENCE)
    assert not alive(left)


def test_taken_out(queue, join):
    first, second, third = join(FOREVER), join(FOREVER), join(FOREVER)
    assert second.stop() is Status.KILLED
    assert second.exit["returncode"] is None
    assert queue.waiting() == [third]
    first.stop(discard=True)
    assert wait_until(lambda: third.status() is Status.RUNNING, PATIENCE)
    assert second.status() is Status.KILLED


def test_moving_what_does_not_wait_changes_nothing(queue, join, tmp_path):
    first, second = join(FOREVER), join(FOREVER)
    queue.move(first, 1)
    queue.move(Job(tmp_path / "nothing-1"), 1)
    assert queue.waiting() == [second]


def test_a_killed_one_does_not_hold_up_the_others(queue, join):
    first, second, third = join(FOREVER), join(FOREVER), join(FOREVER)
    os.kill(second.pids["supervisor"].pid, signal.SIGKILL)
    assert wait_until(lambda: second.status() is Status.CRASHED, PATIENCE)
    assert queue.waiting() == [third]
    first.stop(discard=True)
    assert wait_until(lambda: third.status() is Status.RUNNING, PATIENCE)


def test_waiting_costs_next_to_nothing(join):
    join(FOREVER)
    second = join(FOREVER)
    pid = second.pids["supervisor"].pid

    def ticks() -> int:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before, began = ticks(), since_boot()
    time.sleep(1)
    # A fifth of a core at most; the kernel counts hundredths of a second.
    assert ticks() - before < 20 * (since_boot() - began)
    assert wait_until(lambda: second.status() is Status.PENDING, PATIENCE)
