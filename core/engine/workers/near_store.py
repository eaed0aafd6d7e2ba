"""torch's rendezvous store, listening only at the given address.

torch opens it on every interface of the machine, and whoever reaches it may read and set its keys. Of torch's two
servers only the older accepts a socket bound elsewhere, and in torch 2.5 that one ends the training if a client's
address has no reverse lookup. So it listens on the loopback, whose clients have a name; for other machines a socket of
ours listens at the given address and forwards each connection.

Every account of the machine can reach the loopback. So on a single machine all keys are prefixed with a secret that is
only in the environment of the processes, which no other account may read, and without which no key can be found or set.
Imports nothing of ours.
"""

import asyncio
import atexit
import contextlib
import errno
import ipaddress
import os
import secrets
import socket
import sys
import threading
import time
from typing import Any

import torch.distributed as dist

# Not by an import: torch.distributed has a function of that name, which shadows the module.
_rendezvous = sys.modules["torch.distributed.rendezvous"]
_TORCHS_OWN = dist.TCPStore
_TAKES = _TORCHS_OWN.__init__.__doc__ or ""
_LOOPBACK = "127.0.0.1"
_ALL = "the store listens on all interfaces"
# The stores that this process serves, and the connections from other machines: when this process is done, they may
# still need an answer.
_SERVED: "list[NearStore]" = []
_FAR: "set[asyncio.StreamWriter]" = set()
_FAREWELL_SECONDS = 3.0


class NearStore(_TORCHS_OWN):
    """torch's store, whose server listens on our sockets where possible."""

    def __init__(self, host_name: str, port: int, world_size: Any = None, is_master: bool = False, *rest: Any, **more: Any) -> None:  # fmt: skip
        if is_master and "master_listen_fd" in _TAKES and (listening := _opened(host_name, port)) is not None:
            host_name, port = listening.getsockname()[:2]
            more["master_listen_fd"] = listening.detach()
            # The newer of the two servers does not accept a socket.
            more |= {"use_libuv": False} if "use_libuv" in _TAKES else {}
        super().__init__(host_name, port, world_size, is_master, *rest, **more)
        if is_master:
            _SERVED.append(self)


def install() -> None:
    """Make torch create these stores from now on, including where it has already imported the name."""
    dist.TCPStore = _rendezvous.TCPStore = NearStore


def a_word(options: "list[str]") -> "list[str]":
    """Return torchrun's options with a secret for this run, unless several machines would have to know it.

    torchrun prefixes its own keys with it and passes it to the processes it starts, in `TORCHELASTIC_RUN_ID`.
    """
    alone = not any(option.startswith(("--nnodes", "--standalone")) for option in options) or "--nnodes=1" in options
    return [f"--rdzv_id={secrets.token_hex(16)}", *options] if alone else options


def below_the_word() -> None:
    """Prefix the keys of a process that torchrun started with its secret."""
    word, make = os.environ.get("TORCHELASTIC_RUN_ID", "none"), _rendezvous._create_c10d_store
    if word != "none":
        _rendezvous._create_c10d_store = lambda *ends, **more: dist.PrefixStore(word, make(*ends, **more))


def _opened(host: str, port: int) -> "socket.socket | None":
    """Return the socket for the store to listen on, on the loopback; None, after printing why, if there can be none.

    If `host` names another address of this machine, a forwarder listens there.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        # torch reports what is wrong.
        return None
    near = host == "localhost" or _is_loopback(host)
    # A machine often resolves its own name to 127.0.1.1, while others know another address.
    addresses = found[:1] if near else [one for one in found if not _is_loopback(one[4][0])]
    if not addresses:
        return _instead(f"{host} is {found[0][4][0]} on this machine, by which no other reaches it")
    name = addresses[0][4] if near else (_LOOPBACK, 0)
    try:
        socket.getnameinfo(name, 0)
    except OSError:
        return _instead(f"{name[0]} has no name here")
    if near:
        return _listening(*addresses[0])
    outside = [one for one in (_listening(*address, elsewhere=True) for address in addresses) if one is not None]
    if not outside:
        return _instead(f"{host} is {addresses[0][4][0]}, which is no address of this machine itself")
    inside = _listening(socket.AF_INET, socket.SOCK_STREAM, 0, "", name)
    atexit.register(_let_them_go)
    for one in outside:
        threading.Thread(target=asyncio.run, args=(_hand_on(one, inside.getsockname()[1]),), daemon=True).start()
    return inside


def _listening(family: int, kind: int, _proto: int, _name: str, address: Any, elsewhere: bool = False) -> Any:
    """Return a socket that listens there; with `elsewhere`, None if the address belongs to another machine."""
    listening = socket.socket(family, kind)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        if elsewhere and error.errno == errno.EADDRNOTAVAIL:
            return None
        # The same error as torch raises.
        raise RuntimeError(f"The server socket has failed to listen on {address[0]}:{address[1]}: {error}") from error
    listening.listen(2048)
    return listening


async def _hand_on(listening: socket.socket, port: int) -> None:
    """Forward each connection to `port` on the loopback, for the life of the process."""

    async def pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await source.read(1 << 16):
                target.write(block)
                await target.drain()
        # The other direction may still have data.
        with contextlib.suppress(OSError):
            target.write_eof()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer.get_extra_info("peername")[0] != listening.getsockname()[0]:
            _FAR.add(writer)
        try:
            await between(reader, writer)
        finally:
            _FAR.discard(writer)

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection(_LOOPBACK, port)
            with contextlib.closing(inner_writer):
                await asyncio.gather(pour(reader, inner_writer), pour(inner_reader, writer))

    async with await asyncio.start_server(connected, sock=listening, backlog=2048) as server:
        await server.serve_forever()


def _let_them_go() -> None:
    """Wait for remote clients to disconnect, as torch expects of the store's machine: they may need a last answer."""
    until = time.monotonic() + _FAREWELL_SECONDS
    while _FAR and time.monotonic() < until:
        time.sleep(0.02)


def _instead(why: str) -> None:
    print(f"{why}: {_ALL}", flush=True)


def _is_loopback(host: str) -> bool:
    """Return whether `host` is a loopback address; False for names."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
