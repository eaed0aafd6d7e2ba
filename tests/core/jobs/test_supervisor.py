"""Nothing of a job is left when it is over, however it ends."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from core.ground.clock import Moment
from core.ground.files import read_json, write_json
from core.ground.workspace import PROJECT
from core.jobs import supervisor
from core.jobs.job import Job, Status, wait_until
from core.jobs.process import Identity
from tests.conftest import ended
from tests.core.conftest import PATIENCE, alive, number_in

ORPHAN = """
import subprocess, sys, time
subprocess.Popen(
    ["sh", "-c", 'trap "" TERM; echo $$ > "$1.partial"; mv "$1.partial" "$1"; exec sleep 600', "sh", sys.argv[1]],
    start_new_session=sys.argv[2] == "own session",
)
while len(sys.argv) > 3:
    time.sleep(600)
import os
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
"""


class Clock:
    """Time that passes when somebody sleeps, `pace` times as fast; `at` says what happens when."""

    def __init__(self, monkeypatch):
        self.now, self.at, self.pace = 1000.0, {}, 1
        monkeypatch.setattr(supervisor.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(supervisor.time, "sleep", self.sleep)

    def sleep(self, seconds):
        self.now += seconds * self.pace
        assert self.now < 5000, "it waits for ever"
        for due in [due for due in self.at if self.now - 1000 >= due]:
            self.at.pop(due)()

    @property
    def passed(self):
        return self.now - 1000


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


class Command:
    """A command that ends by itself, or by a signal that it heeds."""

    def __init__(self, clock, ends_after=float("inf"), heeds=()):
        self.clock, self.ends_after, self.heeds, self.told = clock, ends_after, heeds, []

    def poll(self):
        return 0 if self.clock.passed >= self.ends_after else None

    def signal_group(self, number):
        self.told.append(number)
        if number in self.heeds:
            self.ends_after = self.clock.passed

    def wait(self, seconds):
        if self.poll() is None:
            self.clock.now += seconds
            raise subprocess.TimeoutExpired("command", seconds)


def graceful(clock, directory, command=None):
    """How long a command is waited for."""
    supervisor._wait_gracefully(command or Command(clock), directory)
    return clock.passed


# Of a wait of a quarter of an hour a look each half second is enough.
LONG = 5


@pytest.mark.parametrize(("grace", "waited"), [(0, 0), (0.5, 0.5), (5, 5), (899, 899), (1000, 1000)])
def test_a_command_is_waited_for_as_long_as_the_request_allows(clock, tmp_path, grace, waited):
    write_json(tmp_path / "stop.json", {"grace": grace})
    clock.pace = LONG if waited > 60 else 1
    assert graceful(clock, tmp_path) == pytest.approx(waited, abs=0.15 * clock.pace)


@pytest.mark.parametrize("request_", [None, {}])
def test_a_request_that_allows_nothing(clock, tmp_path, request_):
    if request_ is not None:
        write_json(tmp_path / "stop.json", request_)
    assert graceful(clock, tmp_path) == 0


def test_one_that_ends_by_itself_is_waited_for_no_longer(clock, tmp_path):
    write_json(tmp_path / "stop.json", {"grace": 60})
    assert graceful(clock, tmp_path, Command(clock, ends_after=2)) == pytest.approx(2, abs=0.25)


def test_from_the_last_sign_of_life_on(clock, tmp_path):
    """Each time that it writes its progress it has the whole time again."""
    write_json(tmp_path / "stop.json", {"grace": 5})
    write_json(tmp_path / "progress.json", {})
    for number, at in enumerate((4, 8)):
        clock.at[at] = lambda number=number: write_json(tmp_path / "progress.json", {"iter": number})
    assert graceful(clock, tmp_path) == pytest.approx(13, abs=0.4)


@pytest.mark.parametrize(("patience", "waited"), [(None, 5), (0, 5), (3, 5), (40, 40), (2000, 900)])
def test_the_patience_that_a_command_asks_for(clock, tmp_path, patience, waited):
    """As long as a large checkpoint takes, a quarter of an hour at most."""
    write_json(tmp_path / "stop.json", {"grace": 5})
    write_json(tmp_path / "progress.json", {"patience": patience})
    clock.pace = LONG if waited > 60 else 1
    assert graceful(clock, tmp_path) == pytest.approx(waited, abs=0.15 * clock.pace)


def test_signs_of_life_do_not_last_for_ever(clock, tmp_path):
    write_json(tmp_path / "stop.json", {"grace": 5})
    write_json(tmp_path / "progress.json", {})
    clock.pace = LONG
    for at in range(2, 1200, 2):
        clock.at[at] = lambda at=at: os.utime(tmp_path / "progress.json", (at, at))
    assert graceful(clock, tmp_path) == pytest.approx(900, abs=0.75)


def test_a_harder_request_takes_the_place_of_the_first(clock, tmp_path):
    write_json(tmp_path / "stop.json", {"grace": 60})
    clock.at[3] = lambda: write_json(tmp_path / "stop.json", {"grace": 0})
    assert graceful(clock, tmp_path) == pytest.approx(3, abs=0.25)


@pytest.mark.parametrize(
    ("heeds", "told", "seconds"),
    [
        ((signal.SIGTERM, signal.SIGKILL), [signal.SIGTERM], 0),
        ((signal.SIGKILL,), [signal.SIGTERM, signal.SIGKILL], 5),
        ((), [signal.SIGTERM, signal.SIGKILL], 10),
    ],
)
def test_first_asked_then_told_then_ended(clock, tmp_path, heeds, told, seconds):
    command = Command(clock, heeds=heeds)
    supervisor._stop(command, command, tmp_path)
    assert command.told == told
    assert clock.passed == pytest.approx(seconds, abs=0.1)


def test_one_that_ends_in_its_grace_is_told_nothing(clock, tmp_path):
    write_json(tmp_path / "stop.json", {"grace": 60})
    command = Command(clock, ends_after=1)
    supervisor._stop(command, command, tmp_path)
    assert command.told == []


@pytest.mark.parametrize(("free_after", "taken"), [(0, True), (0.5, True), (9, True), (60, False)])
def test_the_lock_is_tried_for_ten_seconds(clock, tmp_path, free_after, taken):
    held, ours = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    if free_after:
        fcntl.flock(held, fcntl.LOCK_EX)
    clock.at[free_after] = lambda: fcntl.flock(held, fcntl.LOCK_UN)
    assert supervisor._take(ours) is taken
    assert clock.passed == pytest.approx(min(free_after, 10), abs=0.06)
    if taken:
        with pytest.raises(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for descriptor in (held, ours):
        os.close(descriptor)


def test_a_signal_asks_to_stop_and_does_not_soften_a_request(tmp_path):
    supervisor._ask_to_stop(tmp_path)
    assert read_json(tmp_path / "stop.json") == {}
    write_json(tmp_path / "stop.json", {"grace": 7})
    supervisor._ask_to_stop(tmp_path)
    assert read_json(tmp_path / "stop.json") == {"grace": 7}
    # Where it cannot be written, a signal handler has nobody to tell.
    supervisor._ask_to_stop(tmp_path / "stop.json")


class Waiting:
    """A queue in which somebody else has the turn, until `turn`."""

    def __init__(self, clock, turn=0.0, busy=True):
        self.clock, self.turn, self.others, self.here = clock, turn, busy, []

    def join(self, job):
        self.here.append(job)

    def leave(self, job):
        self.here.remove(job)

    def busy(self, _job):
        return self.others

    def take_turn(self, _job):
        return 3 if self.clock.passed >= self.turn else None


def turn(monkeypatch, queue, directory):
    monkeypatch.setattr(supervisor, "Queue", lambda place: queue if place == Path("/queue") else None)
    return supervisor._wait_for_turn(directory, "/queue")


def test_without_a_queue_there_is_no_waiting(tmp_path):
    assert supervisor._wait_for_turn(tmp_path, None)


@pytest.mark.parametrize(("seconds", "busy", "says"), [(0, True, False), (3, True, True), (3, False, False)])
def test_a_job_waits_for_its_turn(monkeypatch, clock, tmp_path, seconds, busy, says):
    """It says that it waits where others are ahead of it, once, and not while it only gets ready."""
    queue = Waiting(clock, seconds, busy)
    began = Moment.now().at
    written = []
    real = supervisor.write_json
    monkeypatch.setattr(supervisor, "write_json", lambda *what: written.append(what) or real(*what))
    assert turn(monkeypatch, queue, tmp_path)
    assert queue.here == [tmp_path]
    assert clock.passed == pytest.approx(seconds, abs=0.21)
    assert len(written) == says
    if says:
        told = read_json(tmp_path / "waiting.json")
        assert told["supervisor"] == Identity.of(os.getpid()).to_json()
        assert began <= told["since"]["at"] <= Moment.now().at


def test_a_job_that_is_taken_out_of_the_queue_never_begins(monkeypatch, clock, tmp_path):
    queue = Waiting(clock, 60)
    clock.at[2] = lambda: write_json(tmp_path / "stop.json", {})
    assert not turn(monkeypatch, queue, tmp_path)
    assert queue.here == []
    assert clock.passed == pytest.approx(2, abs=0.3)


def test_space_is_kept_for_the_last_word(tmp_path):
    supervisor._keep_reserve(tmp_path)
    reserve = (tmp_path / "reserve").stat()
    assert stat.S_IMODE(reserve.st_mode) == 0o600
    # More than any last file takes, and really taken from the disk.
    assert reserve.st_size == 1 << 16
    assert reserve.st_blocks * 512 >= 1 << 16
    supervisor._keep_reserve(tmp_path)
    supervisor._keep_reserve(tmp_path / "gone")
    supervisor._write_last(tmp_path, "exit.json", {"returncode": 3})
    assert read_json(tmp_path / "exit.json") == {"returncode": 3}
    assert not (tmp_path / "reserve").exists()
    supervisor._write_last(tmp_path, "exit.json", {"returncode": 4})


@pytest.mark.parametrize(("number", "told"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EACCES, False)])
def test_the_last_word_on_a_full_disk(monkeypatch, tmp_path, number, told):
    supervisor._keep_reserve(tmp_path)
    real = supervisor.write_json

    def write(path, value):
        if (tmp_path / "reserve").exists():
            raise OSError(number, os.strerror(number))
        real(path, value)

    monkeypatch.setattr(supervisor, "write_json", write)
    if told:
        supervisor._write_last(tmp_path, "exit.json", {"returncode": 3})
        assert read_json(tmp_path / "exit.json") == {"returncode": 3}
    else:
        with pytest.raises(PermissionError):
            supervisor._write_last(tmp_path, "exit.json", {"returncode": 3})
        assert (tmp_path / "reserve").exists()


def test_the_last_word_where_there_was_no_space_to_keep(monkeypatch, tmp_path):
    """Some may be free a moment later all the same."""
    real, failed = supervisor.write_json, []

    def write(path, value):
        if not failed:
            failed.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, value)

    monkeypatch.setattr(supervisor, "write_json", write)
    supervisor._write_last(tmp_path, "exit.json", {"returncode": 3})
    assert read_json(tmp_path / "exit.json") == {"returncode": 3}


def spec_of(script, **more):
    return {"argv": ["sh", "-c", script], "env": {}, "telemetry": None, "queue": None, **more}


def test_what_a_command_is_given(monkeypatch, tmp_path):
    monkeypatch.setenv("HUB_TOKEN", "given")
    monkeypatch.setenv("OTHER_TOKEN", "kept back")
    naps, sleep = [], time.sleep

    def nap(seconds):
        naps.append(seconds)
        (tmp_path / "go").touch()
        sleep(seconds)

    monkeypatch.setattr(supervisor.time, "sleep", nap)
    (tmp_path / "log.txt").write_text("earlier\n")
    began = Moment.now()
    script = 'pwd; echo "$HUB_TOKEN|$OTHER_TOKEN|$GONE_TOKEN|$MINE|$XTUNER_STUDIO_STOP|$XTUNER_STUDIO_PROGRESS"; cat; '
    script += 'echo err >&2; echo "$$ $(ps -o pgid= $$)"; while [ ! -e "$GO" ]; do sleep 0.01; done; exit 7'
    spec = spec_of(script, env={"MINE": "set", "GO": f"{tmp_path}/go"}, secrets=["HUB_TOKEN", "GONE_TOKEN"])
    assert supervisor._run(tmp_path, spec, began) == (7, None)
    assert all(0 < nap < 0.5 for nap in naps), "looks often, and not all the time"
    assert naps
    first, place, given, err, own = (tmp_path / "log.txt").read_text().splitlines()
    assert (first, place, err) == ("earlier", str(PROJECT), "err")
    assert given == f"given|||set|{tmp_path}/stop.json|{tmp_path}/progress.json"
    pid, group = own.split()
    assert pid == group, "a group of its own, to be ended as a whole"
    told = read_json(tmp_path / "pid.json")
    assert (told["command"]["pid"], told["began"]) == (int(pid), began.to_json())
    assert told["supervisor"] == Identity.of(os.getpid()).to_json()
    assert abs(told["started"] - time.time()) < PATIENCE


def test_a_command_that_is_not_there(tmp_path):
    code, why = supervisor._run(tmp_path, {**spec_of(""), "argv": ["/no/such/program"]}, Moment.now())
    assert code == 127
    assert "/no/such/program" in why
    assert (tmp_path / "log.txt").read_text() == f"{why}\n"
    assert not (tmp_path / "pid.json").exists()


def test_samples_are_taken_where_they_are_wanted(monkeypatch, tmp_path):
    taken = []
    monkeypatch.setattr(supervisor, "record", lambda *what: taken.append((*what, threading.current_thread())))
    supervisor._run(tmp_path, spec_of("exit 0", telemetry=str(tmp_path / "samples")), Moment.now())
    assert wait_until(lambda: len(taken) == 1, PATIENCE)
    place, command, heard, thread = taken[0]
    assert thread.daemon, "no sample keeps the supervisor from its end"
    assert (place, heard) == (tmp_path / "samples", tmp_path / "progress.json")
    assert command.pid == read_json(tmp_path / "pid.json")["command"]["pid"]


def supervised(directory, **spec):
    """Have a supervisor begin, as `python -m core.jobs.supervisor` does, without starting a Python."""
    directory.mkdir(parents=True)
    write_json(directory / "job.json", {**spec_of("exit 3"), "kind": "test", "artefacts": [], "created": 0.0, **spec})
    begin(directory)
    return Job(directory)


def begin(directory):
    if not (child := os.fork()):
        try:
            supervisor.main(directory)
        finally:
            os._exit(0)
    # Whoever starts one waits until it has gone its own way, and learns whether it could.
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.usefixtures("start")
@pytest.mark.parametrize(("before", "after", "kills"), [(2, 5, 3), (2, 2, 0), (None, 5, None), (2, None, 0)])
def test_what_is_told_of_the_end(monkeypatch, tmp_path, before, after, kills):
    counts = iter((before, after))
    monkeypatch.setattr(supervisor, "oom_kills", lambda: next(counts))
    monkeypatch.setattr(supervisor, "free_bytes", lambda place: 77 if place.name == "test-1" else None)
    job = supervised(tmp_path / "jobs" / "test-1")
    assert wait_until(lambda: job.exit is not None, PATIENCE)
    told = job.exit
    assert (told["returncode"], told["error"], told["oom_kills"], told["free_bytes"]) == (3, None, kills, 77)
    assert 0 <= told["seconds"] < PATIENCE
    assert abs(told["ended"] - time.time()) < PATIENCE
    assert stat.S_IMODE((job.directory / "lock").stat().st_mode) == 0o600
    # Right after the last file.
    assert wait_until(lambda: not (job.directory / "reserve").exists(), PATIENCE)


@pytest.mark.usefixtures("start")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_supervisor_is_a_stop(tmp_path, number):
    job = supervised(tmp_path / "jobs" / "test-1", argv=["sleep", "600"])
    assert wait_until(lambda: (job.directory / "pid.json").exists(), PATIENCE)
    told = read_json(job.directory / "pid.json")["supervisor"]["pid"]
    assert os.getsid(told) != os.getsid(0), "out of reach of a terminal that is closed"
    os.kill(told, number)
    assert wait_until(lambda: job.exit is not None, PATIENCE)
    assert job.exit["returncode"] == -signal.SIGTERM


@pytest.mark.usefixtures("start")
def test_a_supervisor_that_is_killed_leaves_word(tmp_path):
    job = supervised(tmp_path / "jobs" / "test-1", argv=["sleep", "600"])
    assert wait_until(lambda: (job.directory / "pid.json").exists(), PATIENCE)
    told = read_json(job.directory / "pid.json")
    assert (job.directory / "reserve").stat().st_blocks, "space for the last word, from the beginning on"
    os.kill(told["supervisor"]["pid"], signal.SIGKILL)
    assert wait_until(lambda: (job.directory / "lost.json").exists(), PATIENCE)
    lost = read_json(job.directory / "lost.json")
    assert lost["returncode"] == -signal.SIGKILL
    assert 0 <= lost["seconds"] < PATIENCE
    assert abs(lost["ended"] - time.time()) < PATIENCE
    assert not alive(told["command"]["pid"])
    assert job.exit is None


@pytest.mark.usefixtures("start")
def test_the_command_does_not_outlive_supervisor_and_guard(tmp_path):
    """Both killed at once: the kernel ends it then."""
    job = supervised(tmp_path / "jobs" / "test-1", argv=["sleep", "600"])
    assert wait_until(lambda: (job.directory / "pid.json").exists(), PATIENCE)
    told = read_json(job.directory / "pid.json")
    guard = psutil.Process(told["supervisor"]["pid"]).parent()
    guard.kill()
    os.kill(told["supervisor"]["pid"], signal.SIGKILL)
    assert wait_until(lambda: not alive(told["command"]["pid"]), PATIENCE)
    assert not (job.directory / "lost.json").exists()


@pytest.mark.usefixtures("start")
def test_taken_out_of_the_queue_it_says_that_it_never_ran(monkeypatch, tmp_path):
    monkeypatch.setattr(supervisor, "_wait_for_turn", lambda _directory, place: place != "the queue")
    job = supervised(tmp_path / "jobs" / "test-1", queue="the queue")
    assert wait_until(lambda: job.exit is not None, PATIENCE)
    assert (job.exit["returncode"], job.exit["seconds"], job.exit["error"]) == (None, 0.0, None)
    assert not (job.directory / "log.txt").exists()


@pytest.mark.usefixtures("start")
@pytest.mark.parametrize("there", ["pid.json", "exit.json"])
def test_a_job_that_was_begun_is_not_begun_again(tmp_path, there):
    job = supervised(tmp_path / "jobs" / "test-1", argv=["false"])
    assert wait_until(lambda: job.exit is not None, PATIENCE)
    for name in {"pid.json", "exit.json"} - {there}:
        (job.directory / name).unlink()
    (job.directory / "log.txt").unlink()
    begin(job.directory)
    with (job.directory / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert not (job.directory / "log.txt").exists()


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
    assert wait_until(lambda: not job.status().live, PATIENCE)
    assert job.status() is Status.CRASHED
    assert wait_until(lambda: not alive(command), PATIENCE)


def test_kill_9_of_the_supervisor_leaves_no_grandchild(start, tmp_path):
    """The kernel ends the command with its parent, but not the processes that the command started."""
    job = start(ORPHAN, str(tmp_path / "pid"), "own session", "stay")
    pid = number_in(tmp_path / "pid")
    os.kill(job.pids["supervisor"].pid, signal.SIGKILL)
    assert wait_until(lambda: not job.status().live, PATIENCE)
    assert wait_until(lambda: not alive(pid), PATIENCE)


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
