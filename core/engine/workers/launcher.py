"""torchrun, whose store listens on the loopback where all processes are on one machine: `python -m
core.engine.workers.launcher`, with torchrun's own options.

torch opens the store, in which the processes of a training find each other, on every interface of the machine, and
whoever reaches it may read and set what it holds. Of torch's two servers only the older takes a socket that was bound
elsewhere, and in torch 2.5 that one ends the training where the name of a client's address cannot be looked up. So the
processes of several machines, whose addresses often have no names, keep torch's newer one. Imports nothing of ours.
"""

import ipaddress
import socket
from typing import Any

import torch.distributed as dist

_TORCHS_OWN = dist.TCPStore
_TAKES = _TORCHS_OWN.__init__.__doc__ or ""


class NearStore(_TORCHS_OWN):
    """torch's store; the server's side on a socket of ours, where there can be one."""

    def __init__(self, host_name: str, port: int, world_size: Any = None, is_master: bool = False, *rest: Any, **more: Any) -> None:  # fmt: skip
        if is_master and "master_listen_fd" in _TAKES and (listening := opened(host_name, port)) is not None:
            port = listening.getsockname()[1]
            more["master_listen_fd"] = listening.detach()
            # The newer of its two servers takes no socket of ours.
            more |= {"use_libuv": False} if "use_libuv" in _TAKES else {}
        super().__init__(host_name, port, world_size, is_master, *rest, **more)


def opened(host: str, port: int) -> "socket.socket | None":
    """A socket that listens at `host`; None where that is not the loopback, or a client there would have no name."""
    if host != "localhost" and not _is_loopback(host):
        return None
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    try:
        socket.getnameinfo(address, 0)
    except OSError:
        print(f"{address[0]} has no name here: the store listens on all interfaces", flush=True)
        return None
    listening = socket.socket(family, kind)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        # What torch itself raises.
        raise RuntimeError(f"The server socket has failed to listen on {host}:{port}: {error}") from error
    listening.listen(2048)
    return listening


def _is_loopback(host: str) -> bool:
    """Of addresses alone: a machine often knows its own name as 127.0.1.1, and others know it by another."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    # Before anything takes the name from there.
    dist.TCPStore = NearStore
    from torch.distributed.run import main

    main()
