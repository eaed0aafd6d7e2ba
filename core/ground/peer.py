"""Which user opened a TCP connection from this machine, as known to the kernel.

It is queried by `sock_diag`, as `ss` does, or read from `/proc/net/tcp` and `tcp6`, which may take 50 ms on a large
machine. This is what PostgreSQL calls peer authentication, for TCP. The owner of a connection from another machine, or
from another container, is unknown, and reported so. Caches nothing: a port may belong to someone else as soon as its
connection is closed.
"""

import ipaddress
import os
import socket
import struct
import sys
from pathlib import Path

Address = tuple[str, int]
IP = ipaddress.IPv4Address | ipaddress.IPv6Address
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_UNMAPPED = Path("/proc/sys/kernel/overflowuid")
_ROOT = 0
# linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
_SOCK_DIAG, _BY_FAMILY, _REQUEST, _ALL_STATES, _ANY = 4, 20, 1, 0xFFFFFFFF, 0xFFFFFFFF
# The kernel may omit a line of a long table that changes meanwhile.
_LOOKS = 2


def is_own(uid: int | None) -> bool:
    """Return whether `uid` is this process's user, or root, who may do anything anyway.

    A user namespace maps all unknown users to one uid, which therefore is never ours.
    """
    return uid is not None and uid in (os.geteuid(), _ROOT) and uid != _unmapped()


def owner(client: Address, server: Address) -> int | None:
    """Return the uid that opened the connection from `client` to `server`; None if unknown."""
    uid = asked(client, server)
    return read(client, server) if uid is None else uid


def read(client: Address, server: Address) -> int | None:
    """Return the owner by the tables: works on every kernel, but slowly."""
    try:
        wanted = _rows(client, server)
    except ValueError:
        return None
    for table, row in wanted:
        for _ in range(_LOOKS):
            if (uid := _uid(table, row)) is not None:
                return uid
    return None


def asked(client: Address, server: Address) -> int | None:
    """Return the owner by querying this one connection; None if there is none, or no answer."""
    try:
        ours, theirs = _address(client[0]), _address(server[0])
    except ValueError:
        return None
    if ours.version != theirs.version:
        return None
    family = socket.AF_INET if ours.version == 4 else socket.AF_INET6
    ports = struct.pack("!HH", client[1], server[1])
    end = ports + ours.packed.ljust(16, b"\0") + theirs.packed.ljust(16, b"\0")
    request = (
        struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, _ALL_STATES) + end + struct.pack("=III", 0, _ANY, _ANY)
    )
    header = struct.pack("=IHHII", 16 + len(request), _BY_FAMILY, _REQUEST, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as kernel:
            kernel.settimeout(1)
            kernel.send(header + request)
            answer = kernel.recv(1 << 16)
    except OSError:
        return None
    if len(answer) < 88 or struct.unpack_from("=H", answer, 4)[0] != _BY_FAMILY:
        return None
    wide = answer[16] == socket.AF_INET6
    source, target = (ipaddress.ip_address(answer[at : at + (16 if wide else 4)]) for at in (24, 40))
    # The result may also be a listener on the client's port; and an IPv6 socket may carry IPv4.
    if (answer[20:24], _plain(source), _plain(target)) != (ports, ours, theirs):
        return None
    uid, inode = struct.unpack_from("=II", answer, 80)
    return uid if inode else None


def _rows(client: Address, server: Address) -> list[tuple[Path, bytes]]:
    """Return how each table writes the addresses of the client's end. Raises ValueError for an invalid address."""
    ours, theirs = _address(client[0]), _address(server[0])
    ports = client[1], server[1]
    rows = []
    if ours.version == theirs.version == 4:
        rows.append((TABLES[0], _row(ours.packed, theirs.packed, ports)))
        # An IPv6 socket may carry IPv4.
        mapped = bytes(10) + b"\xff\xff"
        rows.append((TABLES[1], _row(mapped + ours.packed, mapped + theirs.packed, ports)))
    elif ours.version == theirs.version == 6:
        rows.append((TABLES[1], _row(ours.packed, theirs.packed, ports)))
    return rows


def _address(host: str) -> IP:
    return _plain(ipaddress.ip_address(host.partition("%")[0]))


def _plain(address: IP) -> IP:
    return getattr(address, "ipv4_mapped", None) or address


def _row(client: bytes, server: bytes, ports: tuple[int, int]) -> bytes:
    # The kernel prints 32 bits at a time, in this CPU's byte order.
    ends = [
        "".join(f"{int.from_bytes(packed[at : at + 4], sys.byteorder):08X}" for at in range(0, len(packed), 4))
        + f":{port:04X}"
        for packed, port in zip((client, server), ports, strict=True)
    ]
    return f": {ends[0]} {ends[1]} ".encode()


def _uid(table: Path, row: bytes) -> int | None:
    """Return the owner that `table` lists for the connection; None for one without a socket.

    A client that sends and closes immediately leaves a connection without a socket, which is shown as root's.
    """
    try:
        text = table.read_bytes()
    except OSError:
        return None
    start = text.find(row)
    if start < 0:
        return None
    # state, queues, timer, retransmits, uid, timeout, inode, …
    fields = text[start + len(row) : text.find(b"\n", start)].split()
    return int(fields[4]) if len(fields) > 6 and int(fields[6]) else None


def _unmapped() -> int:
    try:
        return int(_UNMAPPED.read_text())
    except (OSError, ValueError):
        return 65534
