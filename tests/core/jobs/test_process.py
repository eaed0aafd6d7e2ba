"""A pid is not proof: only exactly the process that was started is ever signaled."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from core.jobs.job import wait_until
from core.jobs.process import Identity
from tests.core.conftest import PATIENCE, alive


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_identity_of_a_live_process(sleeper):
    identity = Identity.of(sleeper.pid)
    assert identity.alive()
    assert Identity.from_json(identity.to_json()) == identity
    assert Identity.from_json(None) is None


def test_identity_of_a_zombie_is_none(sleeper):
    identity = Identity.of(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGKILL)
    assert wait_until(lambda: not identity.alive(), PATIENCE)
    # It has not been reaped yet, so a signal could still be sent.
    os.kill(sleeper.pid, 0)
    assert Identity.of(sleeper.pid) is None


def test_identity_of_no_process():
    assert Identity.of(2**22 + 1) is None


def test_name_of_a_process_may_hold_anything(tmp_path):
    program = tmp_path / ") Z 1 1 ("
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(program), "600"])
    try:
        assert Identity.of(process.pid).alive()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("forged", [{"start": 1}, {"boot": "another boot"}])
def test_reused_pid_is_not_signalled(sleeper, forged):
    other = replace(Identity.of(sleeper.pid), **forged)
    assert not other.alive()
    other.signal(signal.SIGKILL)
    other.signal_group(signal.SIGKILL)
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.2)


def test_signal_and_group(sleeper):
    Identity.of(sleeper.pid).signal_group(signal.SIGTERM)
    assert sleeper.wait(PATIENCE) == -signal.SIGTERM


def test_signal_to_what_is_gone(sleeper):
    identity = Identity.of(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    identity.signal(signal.SIGTERM)
    identity.signal_group(signal.SIGTERM)


def test_end_descendants_ends_the_stubborn_too():
    """In a separate process, since it reaps every child of its caller."""
    script = (
        "import subprocess\nfrom core.jobs.process import end_descendants\n"
        "one = subprocess.Popen(['sh', '-c', 'trap \"\" TERM; echo x; exec sleep 600'], stdout=subprocess.PIPE)\n"
        "two = subprocess.Popen(['sleep', '600'])\none.stdout.readline()\n"
        "print(end_descendants(0.1), end_descendants(), one.pid, two.pid)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True)
    ended, ended_again, *pids = map(int, done.stdout.split())
    assert (ended, ended_again) == (2, 0)
    assert not any(map(alive, pids))
