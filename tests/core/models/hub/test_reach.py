"""Which addresses a download may reach, in any notation, and the effect of the guard in a process of its own."""

import socket
import subprocess
import sys

import pytest

from core.ground.workspace import PROJECT
from core.models.hub.reach import is_link, is_loopback


@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.1.1", "fe80::1", "[fe80::1%eth0]", "::ffff:169.254.0.9", "0xA9FEA9FE", "100.100.100.200", "fd00:ec2::254"])  # fmt: skip
def test_of_the_link_and_the_cloud(host):
    assert is_link(host)
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "127.1", "2130706433", "::1", "[::1]", "localhost", "LOCALHOST.", "0.0.0.0", "::", "::ffff:127.0.0.1"])  # fmt: skip
def test_of_this_machine(host):
    assert is_loopback(host)
    assert not is_link(host)


@pytest.mark.parametrize(
    "host", ["huggingface.co", "10.0.0.5", "192.168.1.2", "8.8.8.8", "2001:db8::1", "", "localhost.example"]
)
def test_all_others(host):
    assert not is_loopback(host)
    assert not is_link(host)


def reached(endpoint: str, to: tuple[str, int], **environment: str) -> bool:
    """Return whether a guarded process may connect."""
    script = f"import socket; from core.models.hub.reach import guard; guard({endpoint!r}); socket.create_connection({to!r}, 5)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or "Unreachable" in done.stderr, done.stderr
    return done.returncode == 0


def test_only_what_was_asked_for_on_this_machine():
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        here, there = one.getsockname(), other.getsockname()
        assert reached(f"http://127.0.0.1:{here[1]}", here)
        assert reached(f"http://localhost:{here[1]}/x", here)
        assert not reached(f"http://127.0.0.1:{here[1]}", there)
        assert not reached("https://huggingface.co", here)
        # A user's own proxy.
        assert reached("https://huggingface.co", here, https_proxy=f"http://127.0.0.1:{here[1]}")
        assert reached("https://huggingface.co", here, ALL_PROXY=f"socks5://localhost:{here[1]}")
        assert not reached("https://huggingface.co", there, https_proxy=f"http://127.0.0.1:{here[1]}")
