"""torch's store, in which the processes of a training find each other, at the address that was named and nowhere else.

torch opens it on every interface of the machine, and whoever reaches it may read and set what it holds. Of torch's two
servers only the older takes a socket that was bound elsewhere, and in torch 2.5 that one ends the training where the
name of a client's address cannot be looked up. So it listens on the loopback, whose clients have a name; for other
machines a socket of ours is at the named address, and hands each connection on to it.

The loopback is there for every account of the machine. So on one machine all keys stand below a word that only the
environment of the processes tells, which no other account may read, and without which no key is found or set. Imports
nothing of ours.
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

# Not by an import: torch has a function of that name, which stands before it.
_rendezvous = sys.modules["torch.distributed.rendezvous"]
_TORCHS_OWN = dist.TCPStore
_TAKES = _TORCHS_OWN.__init__.__doc__ or ""
_LOOPBACK = "127.0.0.1"
_ALL = "the store listens on all interfaces"
# The stores that this process serves, and who is connected from other machines: when this process is done, they may
# still have something to ask.
_SERVED: "list[NearStore]" = []
_FAR: "set[asyncio.StreamWriter]" = set()
_FAREWELL_SECONDS = 3.0


class NearStore(_TORCHS_OWN):
    """torch's store; the server's side on sockets of ours, where there can be any."""

    def __init__(self, host_name: str, port: int, world_size: Any = None, is_master: bool = False, *rest: Any, **more: Any) -> None:  # fmt: skip
        if is_master and "master_listen_fd" in _TAKES and (listening := _opened(host_name, port)) is not None:
            host_name, port = listening.getsockname()[:2]
            more["master_listen_fd"] = listening.detach()
            # The newer of its two servers takes no socket of ours.
            more |= {"use_libuv": False} if "use_libuv" in _TAKES else {}
        super().__init__(host_name, port, world_size, is_master, *rest, **more)
        if is_master:
            _SERVED.append(self)


def install() -> None:
    """Have torch make its stores so from now on, also where it has taken the name already."""
    dist.TCPStore = _rendezvous.TCPStore = NearStore


def a_word(options: "list[str]") -> "list[str]":
    """torchrun's options with a word for this training: it keeps its own keys below that, and tells it to the processes
    that it starts, in `TORCHELASTIC_RUN_ID`. Without one, where several machines would have to know it."""
    alone = not any(option.startswith(("--nnodes", "--standalone")) for option in options) or "--nnodes=1" in options
    return [f"--rdzv_id={secrets.token_hex(16)}", *options] if alone else options


def below_the_word() -> None:
    """Have the keys of a process that torchrun started stand below its word."""
    word, make = os.environ.get("TORCHELASTIC_RUN_ID", "none"), _rendezvous._create_c10d_store
    if word != "none":
        _rendezvous._create_c10d_store = lambda *ends, **more: dist.PrefixStore(word, make(*ends, **more))


def _opened(host: str, port: int) -> "socket.socket | None":
    """The socket that the store is to listen at, on the loopback; where `host` names another address of this machine,
    it is reached through that. None, and a line that says why, where there can be none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        # torch says what is wrong with it.
        return None
    near = host == "localhost" or _is_loopback(host)
    # A machine often knows its own name as 127.0.1.1, and others know it by another address.
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
    """A socket that listens there; with `elsewhere`, None where the address is another machine's."""
    listening = socket.socket(family, kind)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        if elsewhere and error.errno == errno.EADDRNOTAVAIL:
            return None
        # What torch itself raises.
        raise RuntimeError(f"The server socket has failed to listen on {address[0]}:{address[1]}: {error}") from error
    listening.listen(2048)
    return listening


async def _hand_on(listening: socket.socket, port: int) -> None:
    """Hand each connection on to `port` of the loopback, for as long as the process lives."""

    async def pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await source.read(1 << 16):
                target.write(block)
                await target.drain()
        # The other direction may still have something to say.
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
    """The machine of the store goes last, as torch has it: the others have their last answers by then."""
    until = time.monotonic() + _FAREWELL_SECONDS
    while _FAR and time.monotonic() < until:
        time.sleep(0.02)


def _instead(why: str) -> None:
    print(f"{why}: {_ALL}", flush=True)


def _is_loopback(host: str) -> bool:
    """Of addresses alone."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
