"""torchrun, whose store listens at one address: `python -m core.engine.workers.launcher`, with torchrun's own options.

torch opens the store, in which the processes of a training find each other, on every interface of the machine, and
whoever reaches it may read and set what it holds. Here it listens at the address that the processes were told:
the loopback for those of one machine, the named address of rank 0 for those of several. Imports nothing of ours.
"""

import errno
import ipaddress
import socket
from typing import Any

import torch.distributed as dist

_TORCHS_OWN = dist.TCPStore
_TAKES = _TORCHS_OWN.__init__.__doc__ or ""


class NearStore(_TORCHS_OWN):
    """torch's store; where it is the server's side, on a socket that was opened at the address of its name."""

    def __init__(self, host_name: str, port: int, world_size: Any = None, is_master: bool = False, *rest: Any, **more: Any) -> None:  # fmt: skip
        if is_master and "master_listen_fd" in _TAKES and (listening := opened(host_name, port)) is not None:
            port = listening.getsockname()[1]
            more["master_listen_fd"] = listening.detach()
            # The newer of its two servers takes no socket of ours.
            more |= {"use_libuv": False} if "use_libuv" in _TAKES else {}
        super().__init__(host_name, port, world_size, is_master, *rest, **more)


def opened(host: str, port: int) -> "socket.socket | None":
    """A socket that listens at `host`; None where others know that by an address which this machine does not."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    if ipaddress.ip_address(address[0].partition("%")[0]).is_loopback and host not in ("localhost", address[0]):
        # A machine often knows its own name as 127.0.1.1.
        print(f"{host} is {address[0]} here: the store listens on all interfaces", flush=True)
        return None
    listening = socket.socket(family, kind)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRNOTAVAIL:
            # A router's before it.
            print(f"{host} is no address of this machine: the store listens on all interfaces", flush=True)
            return None
        # What torch itself raises.
        raise RuntimeError(f"The server socket has failed to listen on {host}:{port}: {error}") from error
    listening.listen(2048)
    return listening


if __name__ == "__main__":
    # Before anything takes the name from there.
    dist.TCPStore = NearStore
    from torch.distributed.run import main

    main()
