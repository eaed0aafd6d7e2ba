"""Whose a TCP connection from this machine is: the kernel keeps the owner of each end in `/proc/net/tcp` and `tcp6`.

What PostgreSQL calls peer authentication, for TCP. Of a connection from another machine, or from another container, it
knows nothing, and says so. Keeps nothing: a port may be somebody else's as soon as its connection is closed.
"""

import ipaddress
import os
import sys
from pathlib import Path

Address = tuple[str, int]
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_UNMAPPED = Path("/proc/sys/kernel/overflowuid")
_ROOT = 0
# Of a long table that changes meanwhile, the kernel may leave out a line.
_LOOKS = 2


def is_own(uid: int | None) -> bool:
    """Whether `uid` is the user whose process this is, or root, who may do anything anyway.

    A user namespace shows all whom it does not know as one uid, which is nobody's for that reason.
    """
    return uid is not None and uid in (os.geteuid(), _ROOT) and uid != _unmapped()


def owner(client: Address, server: Address) -> int | None:
    """The uid that opened the connection from `client` to `server`; None where that cannot be known."""
    try:
        wanted = _rows(client, server)
    except ValueError:
        return None
    for table, row in wanted:
        for _ in range(_LOOKS):
            if (uid := _uid(table, row)) is not None:
                return uid
    return None


def _rows(client: Address, server: Address) -> list[tuple[Path, bytes]]:
    """How each table would write the two addresses of the client's end. Raises ValueError for what is no address."""
    ours, theirs = _address(client[0]), _address(server[0])
    ports = client[1], server[1]
    rows = []
    if ours.version == theirs.version == 4:
        rows.append((TABLES[0], _row(ours.packed, theirs.packed, ports)))
        # A socket of IPv6 may speak IPv4.
        mapped = bytes(10) + b"\xff\xff"
        rows.append((TABLES[1], _row(mapped + ours.packed, mapped + theirs.packed, ports)))
    elif ours.version == theirs.version == 6:
        rows.append((TABLES[1], _row(ours.packed, theirs.packed, ports)))
    return rows


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    found = ipaddress.ip_address(host.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def _row(client: bytes, server: bytes, ports: tuple[int, int]) -> bytes:
    # The kernel prints 32 bits at a time, as numbers of this processor.
    ends = [
        "".join(f"{int.from_bytes(packed[at : at + 4], sys.byteorder):08X}" for at in range(0, len(packed), 4))
        + f":{port:04X}"
        for packed, port in zip((client, server), ports, strict=True)
    ]
    return f": {ends[0]} {ends[1]} ".encode()


def _uid(table: Path, row: bytes) -> int | None:
    """The owner that `table` names for the connection; None for one without a socket.

    Who sends and closes at once leaves a connection that has no socket any more, and is shown as root's.
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
