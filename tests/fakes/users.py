"""Another user of this machine: what a process of theirs does, and what comes of it. Only root can be somebody else."""

import encodings.idna  # noqa: F401
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Nobody's; the kernel asks for no account.
STRANGER = 54_321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user: run the tests as root")


def reachable(directory: Path) -> None:
    """Let the other user pass to `directory`: pytest's own keeps others out, which is not what is tried."""
    for place in (directory, *directory.parents):
        if place != Path("/") and place.stat().st_uid == os.geteuid():
            place.chmod(place.stat().st_mode | 0o011)


@contextmanager
def as_stranger(work: Callable[[], Any], uid: int = STRANGER) -> Iterator[Callable[[], Any]]:
    """Do `work` in a process of the other user's; yields what waits for its value, or raises what it raised."""
    ours, theirs = multiprocessing.Pipe()
    # Forked, since the interpreter may lie where the other user cannot read it; what sockets import late is there above.
    process = multiprocessing.get_context("fork").Process(target=_be, args=(uid, work, theirs), daemon=True)
    with warnings.catch_warnings():
        # That we have threads; the child uses none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()

    def value() -> Any:
        assert ours.poll(30), "the other user's process said nothing"
        done, found = ours.recv()
        if not done:
            raise AssertionError(found)
        return found

    try:
        yield value
    finally:
        process.join(10)
        if process.is_alive():
            process.kill()


def stranger(work: Callable[[], Any], uid: int = STRANGER) -> Any:
    """The value of `work`, done by the other user."""
    with as_stranger(work, uid) as value:
        return value()


def _be(uid: int, work: Callable[[], Any], to: Any) -> None:
    try:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        to.send((True, work()))
    except BaseException as error:
        to.send((False, repr(error)))
