"""Owns one job's command from its start to its last process: `python -m core.jobs.supervisor JOB_DIRECTORY`.

Leaves for a session of its own, so that neither a closed tab nor a dead server nor a hung-up terminal
reaches the command; output goes to a file, never a pipe. When the command is over, whatever it left
behind is ended too, and only then exit.json is written. Knows nothing of what the command does.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from core.ground.files import read_json, write_json
from core.ground.workspace import PROJECT
from core.jobs.process import Identity, end_descendants
from core.jobs.telemetry import record

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_TERM_SECONDS = 5.0
_libc = ctypes.CDLL(None)


def main(directory: Path) -> None:
    """Run the job in `directory` to its end. Returns at once if another supervisor has it."""
    if os.fork():
        os._exit(0)
    os.setsid()
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    if not _take(lock) or any((directory / name).exists() for name in ("pid.json", "exit.json")):
        return
    _leave_guard()
    # Workers that torchrun starts leave the command's group and session; orphaned, they come to us.
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: (directory / "stop.json").exists() or write_json(directory / "stop.json", {}))
    returncode, error = _run(directory)
    end_descendants()
    write_json(directory / "exit.json", {"returncode": returncode, "ended": time.time(), "error": error})


def _take(lock: int) -> bool:
    """Take the lock; False where another supervisor has it. Who looks at the status has it too, for a moment."""
    for _ in range(20):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.05)
    return False


def _leave_guard() -> None:
    """Go on in a child; its parent ends all that is left should the supervisor itself be killed."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    supervisor = os.fork()
    if supervisor:
        os.waitpid(supervisor, 0)
        end_descendants()
        os._exit(0)


def _run(directory: Path) -> tuple[int, str | None]:
    """Start the command and wait for it, or for a wish to stop it. Returns its code and why it could not start."""
    spec = read_json(directory / "job.json")
    environment = {
        **os.environ,
        **spec["env"],
        "XTUNER_STUDIO_PROGRESS": str(directory / "progress.json"),
        "XTUNER_STUDIO_STOP": str(directory / "stop.json"),
    }
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
        },
    )
    if spec["telemetry"]:
        threading.Thread(
            target=record, args=(Path(spec["telemetry"]), identity, directory / "progress.json"), daemon=True
        ).start()
    while command.poll() is None:
        if (directory / "stop.json").exists():
            _stop(command, identity, directory)
        time.sleep(0.1)
    return command.returncode, None


def _stop(command: subprocess.Popen[bytes], identity: Identity, directory: Path) -> None:
    """Give the command its grace (it sees stop.json itself), then SIGTERM and SIGKILL its group."""
    grace = (read_json(directory / "stop.json") or {}).get("grace", 0.0)
    for number, patience in ((None, grace), (signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _TERM_SECONDS)):
        if number is not None:
            identity.signal_group(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.wait(patience)
            return


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
