"""Runs one job's command, from its start to its last process: `python -m core.jobs.supervisor JOB_DIRECTORY`.

Runs in its own session, so that closing a tab, a server or a terminal does not reach the command; waits for the job's
turn if it is queued; output goes to a file, never a pipe. After the command ends, its leftover processes are ended, and
only then is exit.json written. If the supervisor itself is killed, its guard ends the command and all its descendants.
Does not know what the command does.

With `--within-slurm` it is what sbatch started, on a node: Slurm's queue has given it its turn, and Slurm ends what is
left of it, so it needs no session, no lock and no guard.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from core.ground import garbage, progress
from core.ground.clock import Moment
from core.ground.files import read_json, write_json
from core.ground.inherited import inherited
from core.ground.workspace import PROJECT
from core.jobs.evidence import free_bytes, oom_kills
from core.jobs.process import Identity, end_descendants
from core.jobs.queue import Queue
from core.jobs.telemetry import record

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_TERM_SECONDS = 5.0
# The longest time to end gracefully, for a command that keeps reporting progress.
_MOST_PATIENCE = 900.0
# How long the command may take to save once Slurm says that its time is nearly over.
_LAST_SECONDS = 90.0
# Released to record the result of a job when the disk is full.
_RESERVE_BYTES = 65_536
_libc = ctypes.CDLL(None)


def main(directory: Path) -> None:
    """Run the job in `directory` to its end. Returns immediately if another supervisor has it."""
    if os.fork():
        os._exit(0)
    os.setsid()
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    if not _take(lock) or any((directory / name).exists() for name in ("pid.json", "exit.json")):
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: _ask_to_stop(directory))
    spec = read_json(directory / "job.json")
    if not _wait_for_turn(directory, spec.get("queue")):
        _write_never_run(directory)
        return
    _leave_guard(directory)
    _supervise(directory, spec)


def main_within_slurm(directory: Path, name: str | None = None) -> None:
    """Run the job in `directory` to its end, as the batch job of Slurm's called `name`.

    Does nothing if it has been run before, or if the directory is another's now. If a stop was requested while it
    waited, and Slurm did not hear of it, it ends at once.
    """
    if any((directory / file).exists() for file in ("pid.json", "exit.json")):
        return
    if name is not None and (read_json(directory / "slurm.json") or {}).get("name") != name:
        return
    if (directory / "stop.json").exists():
        _write_never_run(directory)
        return
    # Since Slurm 22.05, srun within a job reads it under its own name only.
    if "SLURM_CPUS_PER_TASK" in os.environ:
        os.environ.setdefault("SRUN_CPUS_PER_TASK", os.environ["SLURM_CPUS_PER_TASK"])
    # Slurm ends the command itself (scancel, its time limit, a failed node) and leaves us a moment to record it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGUSR1, lambda *_: _ask_to_stop(directory, {"grace": _LAST_SECONDS, "why": "time limit"}))
    _supervise(directory, read_json(directory / "job.json"))


def _write_never_run(directory: Path) -> None:
    write_json(directory / "exit.json", {"returncode": None, "ended": time.time(), "seconds": 0.0, "error": None})


def _supervise(directory: Path, spec: dict[str, Any]) -> None:
    """Run the command, end what it leaves, and record the result."""
    # torchrun's workers leave the command's group and session; as a subreaper we inherit them when orphaned.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    began, kills = Moment.now(), oom_kills()
    _keep_reserve(directory)
    returncode, error = _run(directory, spec, began)
    left = free_bytes(directory)
    end_descendants()
    _write_last(
        directory,
        "exit.json",
        {
            "returncode": returncode,
            "ended": time.time(),
            "seconds": began.age(),
            "error": error,
            "oom_kills": None if kills is None else (oom_kills() or kills) - kills,
            "free_bytes": left,
        },
    )


def _take(lock: int) -> bool:
    """Take the lock; False if another supervisor has it. A status check also holds it, longer where it is not given the CPU."""
    for _ in range(200):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.05)
    return False


def _ask_to_stop(directory: Path, wish: dict[str, Any] | None = None) -> None:
    if not (directory / "stop.json").exists():
        with contextlib.suppress(OSError):
            write_json(directory / "stop.json", wish or {})


def _wait_for_turn(directory: Path, place: str | None) -> bool:
    """Wait for this job's turn if it has a queue; False if it was removed before."""
    if place is None:
        return True
    queue = Queue(Path(place))
    queue.join(directory)
    # This process and its guard both hold the turn, until both have exited.
    while queue.take_turn(directory) is None:
        if (directory / "stop.json").exists():
            queue.leave(directory)
            return False
        if not (directory / "waiting.json").exists() and queue.busy(directory):
            own = Identity.of(os.getpid())
            write_json(
                directory / "waiting.json",
                {"since": Moment.now().to_json(), "supervisor": own.to_json() if own else None},
            )
        time.sleep(0.2)
    return True


def _leave_guard(directory: Path) -> None:
    """Continue in a child process; the parent becomes the guard.

    If the supervisor is killed, the guard cleans up and writes lost.json.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    supervisor = os.fork()
    if supervisor:
        _, status = os.waitpid(supervisor, 0)
        end_descendants()
        if not (directory / "exit.json").exists():
            began = Moment.from_json((read_json(directory / "pid.json") or {}).get("began"))
            seconds = began.age() if began else None
            with contextlib.suppress(OSError):
                code = os.waitstatus_to_exitcode(status)
                lost = {"returncode": code, "ended": time.time(), "seconds": seconds}
                _write_last(directory, "lost.json", lost)
        os._exit(0)


def _run(directory: Path, spec: dict[str, Any], began: Moment) -> tuple[int, str | None]:
    """Start the command and wait until it ends or a stop is requested.

    Returns its exit code, and why it could not start.
    """
    environment = inherited(
        {
            **{name: os.environ[name] for name in spec.get("secrets", ()) if name in os.environ},
            **spec["env"],
            progress.VARIABLE: str(directory / progress.FILE),
            "XTUNER_STUDIO_STOP": str(directory / "stop.json"),
        }
    )
    with (directory / "log.txt").open("ab") as log:
        try:
            command = subprocess.Popen(
                spec["argv"],
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            log.write(f"{error}\n".encode())
            return 127, str(error)
    identity = Identity.of(command.pid) or Identity(pid=command.pid, start=0, boot="")
    supervisor = Identity.of(os.getpid())
    write_json(
        directory / "pid.json",
        {
            "supervisor": supervisor.to_json() if supervisor else None,
            "command": identity.to_json(),
            "started": time.time(),
            "began": began.to_json(),
        },
    )
    if spec["telemetry"]:
        threading.Thread(
            target=record, args=(Path(spec["telemetry"]), identity, directory / progress.FILE), daemon=True
        ).start()
    while command.poll() is None:
        if (directory / "stop.json").exists():
            _stop(command, identity, directory)
        time.sleep(0.1)
    return command.returncode, None


def _stop(command: subprocess.Popen[bytes], identity: Identity, directory: Path) -> None:
    """Give the command its grace (it sees stop.json itself), then SIGTERM and SIGKILL its group."""
    _wait_gracefully(command, directory)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if command.poll() is not None:
            return
        identity.signal_group(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.wait(_TERM_SECONDS)


def _wait_gracefully(command: subprocess.Popen[bytes], directory: Path) -> None:
    """Wait for the command to end by itself, as long as the request allows, counted from its last progress report.

    The command may ask for more `patience` in its progress file, to write a large checkpoint. A second, harder request
    replaces the first.
    """
    asked = heard = time.monotonic()
    last: object = None
    while command.poll() is None:
        grace = (read_json(directory / "stop.json") or {}).get("grace", 0.0)
        with contextlib.suppress(OSError):
            seen = (directory / progress.FILE).stat()
            if (seen.st_ino, seen.st_mtime_ns) != last:
                last, heard = (seen.st_ino, seen.st_mtime_ns), time.monotonic()
        patience = (read_json(directory / progress.FILE) or {}).get("patience") or 0.0
        now = time.monotonic()
        if not grace or now - heard > max(grace, patience) or now - asked > max(grace, _MOST_PATIENCE):
            return
        time.sleep(0.1)


def _keep_reserve(directory: Path) -> None:
    """Reserve a little space, so that the result can be recorded even if the disk becomes full."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory / "reserve", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _RESERVE_BYTES)
        finally:
            os.close(descriptor)


def _write_last(directory: Path, name: str, value: dict[str, Any]) -> None:
    """Write the job's last file, using up the reserve if the disk is full."""
    try:
        write_json(directory / name, value)
        (directory / "reserve").unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        (directory / "reserve").unlink(missing_ok=True)
        write_json(directory / name, value)


def _prctl(option: int, value: int) -> None:
    _libc.prctl(option, value, 0, 0, 0)


def _die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    garbage.resume()
    if "--within-slurm" in sys.argv:
        main_within_slurm(Path(sys.argv[1]), *sys.argv[3:])
    else:
        main(Path(sys.argv[1]))
