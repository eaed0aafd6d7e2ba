"""Which addresses a download or an upload may reach: the hub's and its mirrors', and no service that listens for this machine alone.

A hub, or whoever answers in its name, sends a download on to other addresses. Those of the link (where a cloud tells
its machines their secrets) are refused, and the loopback too, except for a mirror there that the user has named.
"""

import ipaddress
import socket
import sys
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

# Where clouds answer their own machines outside of the link's addresses: Alibaba's, Amazon's by IPv6, Azure's.
_CLOUDS = {"100.100.100.200", "fd00:ec2::254", "168.63.129.16"}


class Unreachable(BaseException):
    """An address that no download may reach; says so in both languages. No Exception: clients try again after
    any of those, for minutes."""

    def __init__(self, host: str) -> None:
        self.zh = f"连接被引到了本机或内部地址 {host}，已拒绝：请换一个地址"
        self.en = f"the connection was redirected to {host}, an address of this machine or its cloud, and was refused: use another address"
        super().__init__(self.en)


def is_link(host: str) -> bool:
    """Whether `host` is an address of the link or of the cloud around this machine; no name is looked up."""
    found = _address(host)
    return found is not None and (found.is_link_local or str(found) in _CLOUDS)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, as an address or as `localhost`."""
    found = _address(host)
    return host.lower().rstrip(".") == "localhost" or (
        found is not None and (found.is_loopback or found.is_unspecified)
    )


def guard(endpoint: str) -> None:
    """From now on, for the life of this process: Unreachable wherever a connection to such an address is tried.

    It is the connection that is judged, after names were looked up and redirects followed, whichever client makes it.
    """
    # A proxy on this machine is the user's own way out.
    asked = {place for proxy in getproxies().values() for place in _places(proxy)}
    if is_loopback(urlsplit(endpoint).hostname or ""):
        asked |= _places(endpoint)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "socket.connect" or not isinstance(arguments[1], tuple):
            return
        host, port = arguments[1][:2]
        if (is_link(str(host)) or is_loopback(str(host))) and (_plain(str(host)), port) not in asked:
            raise Unreachable(str(host))

    sys.addaudithook(watch)


def _places(url: str) -> set[tuple[str, int]]:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 1080)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return set()
    return {(_plain(str(address[0])), port) for _, _, _, _, address in found}


def _plain(host: str) -> str:
    return str(_address(host) or host)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a literal is, however it is written: 127.1 and 2130706433 are what they are to `connect`."""
    bare = host.strip("[]").partition("%")[0]
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        try:
            return ipaddress.ip_address(socket.inet_aton(bare)) if bare else None
        except OSError:
            return None
    return getattr(found, "ipv4_mapped", None) or found
