"""Whose a connection is, from the kernel's own tables: real sockets, and real other users if the tests run as root."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from core.ground import peer
from core.jobs.job import wait_until
from tests.conftest import PATIENCE
from tests.fakes.users import STRANGER, as_stranger, needs_root


@contextmanager
def connected(listens: str = "127.0.0.1", reaches: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield both ends of a connection: the client's and the server's."""
    family = socket.AF_INET6 if ":" in listens else socket.AF_INET
    with socket.socket(family) as listening:
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            listening.bind((listens, 0))
        except OSError as error:
            pytest.skip(f"this machine has no {listens}: {error}")
        listening.listen()
        with socket.socket(socket.AF_INET6 if ":" in reaches else socket.AF_INET) as client:
            client.connect((reaches, listening.getsockname()[1]))
            server, _ = listening.accept()
            with server:
                yield client, server


def ends(server: socket.socket) -> tuple[peer.Address, peer.Address]:
    """Return the ends as the server sees them."""
    return server.getpeername()[:2], server.getsockname()[:2]


@pytest.mark.parametrize(
    ("listens", "reaches"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.3.4.5"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("::1", "::1"),
        ("::", "127.0.0.1"),
        ("::", "::ffff:127.0.0.1"),
        ("::", "::1"),
    ],
)
def test_one_s_own_connection(listens, reaches):
    with connected(listens, reaches) as (_, server):
        assert peer.read(*ends(server)) == os.geteuid()
        assert peer.asked(*ends(server)) in (None, os.geteuid())
        assert peer.owner(*ends(server)) == os.geteuid()
        assert peer.is_own(peer.owner(*ends(server)))


def test_the_other_way_round_is_another_connection():
    with connected() as (_, server):
        there, here = ends(server)
        assert peer.owner((there[0], there[1]), (here[0], here[1] + 1)) is None
        assert peer.owner((there[0], there[1] ^ 1), here) is None
        assert peer.owner(("127.0.0.2", there[1]), here) is None
        # Listening on an address is not the same as connecting from it.
        assert peer.owner(here, ("127.0.0.1", 9)) is None


@pytest.mark.parametrize("client", [("192.0.2.7", 4242), ("2001:db8::7", 4242), ("", 0), ("a.example", 1)])
def test_who_comes_from_elsewhere_is_nobody(client):
    assert peer.owner(client, ("127.0.0.1", 8501)) is None
    assert not peer.is_own(None)


def test_who_sends_and_leaves_is_nobody():
    """The kernel shows the remains of a closed connection as root's."""
    with connected() as (client, server):
        client.sendall(b"POST / HTTP/1.1\r\n")
        client.close()
        row = peer._rows(*ends(server))[0][1]
        assert wait_until(lambda: row in peer.TABLES[0].read_bytes(), PATIENCE), (
            "the kernel keeps a closed end for a while"
        )
        assert peer.owner(*ends(server)) is None


def test_a_long_table_is_read_to_its_end(tmp_path, monkeypatch):
    row = peer._rows(("127.0.0.1", 50_001), ("127.0.0.1", 8501))[0][1].decode()
    rest = " 01 00000000:00000000 00:00000000 00000000  1234        0 98765 1 ffff 20 4 30 10 -1\n"
    other = row.replace(":C351", ":C352")
    lines = "".join(f"{number:5d}{other}{rest}" for number in range(20_000))
    (tmp_path / "tcp").write_text(f"  sl  local_address ...\n{lines}20000{row}{rest}")
    monkeypatch.setattr(peer, "TABLES", (tmp_path / "tcp", tmp_path / "no-tcp6"))
    assert peer.owner(("127.0.0.1", 50_001), ("127.0.0.1", 8501)) == 1234
    assert peer.owner(("127.0.0.1", 50_003), ("127.0.0.1", 8501)) is None


def test_whoever_a_namespace_does_not_know_is_a_stranger(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert not peer.is_own(65534)
    assert peer.is_own(0)
    (tmp_path / "overflowuid").write_text("4000\n")
    monkeypatch.setattr(peer, "_UNMAPPED", tmp_path / "overflowuid")
    assert peer.is_own(65534)
    monkeypatch.setattr(os, "geteuid", lambda: 4000)
    assert not peer.is_own(4000)


@needs_root
def test_another_user_is_known_as_one():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(PATIENCE)
        address = listening.getsockname()

        def reach() -> bool:
            with socket.create_connection(address) as client:
                return client.recv(1) == b"."

        with as_stranger(reach) as answer:
            server, _ = listening.accept()
            with server:
                uid = peer.owner(*ends(server))
                server.sendall(b".")
            assert answer()
    assert uid == STRANGER
    assert not peer.is_own(uid)
