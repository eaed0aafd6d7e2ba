"""Another user of this machine: runs work in a process of theirs. Only root can become another user."""

import encodings.idna  # noqa: F401
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# A uid that belongs to nobody; the kernel requires no account.
STRANGER = 54_321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user: run the tests as root")


def reachable(directory: Path) -> None:
    """Let the other user traverse to `directory`: pytest's own excludes others, which is not what is tested."""
    for place in (directory, *directory.parents):
        if place != Path("/") and place.stat().st_uid == os.geteuid():
            place.chmod(place.stat().st_mode | 0o011)


@contextmanager
def as_stranger(work: Callable[[], Any], uid: int = STRANGER) -> Iterator[Callable[[], Any]]:
    """Run `work` in a process of the other user; yields a function that waits for its value or raises its exception."""
    ours, theirs = multiprocessing.Pipe()
    # Forked, since the other user may be unable to read the interpreter; modules that sockets import late are imported
    # above.
    process = multiprocessing.get_context("fork").Process(target=_be, args=(uid, work, theirs), daemon=True)
    with warnings.catch_warnings():
        # About forking with threads; the child uses none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()

    def value() -> Any:
        assert ours.poll(300), "the other user's process said nothing"
        done, found = ours.recv()
        if not done:
            raise AssertionError(found)
        return found

    try:
        yield value
    finally:
        process.join(60)
        if process.is_alive():
            process.kill()


def stranger(work: Callable[[], Any], uid: int = STRANGER) -> Any:
    """Return the value of `work`, run by the other user."""
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
