"""Limits the addresses that a download or upload may connect to: no service that is local to this machine or its cloud.

A hub, or whoever answers in its name, redirects downloads to other addresses. Link-local addresses, where clouds
provide their machines with secrets, are refused, and so is the loopback interface, except for a mirror there that the
user has named.
"""

import ipaddress
import socket
import sys
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

# Metadata addresses that are not link-local: Alibaba's, Amazon's over IPv6, Azure's.
_CLOUDS = {"100.100.100.200", "fd00:ec2::254", "168.63.129.16"}


class Unreachable(BaseException):
    """An address that no download may reach, with a message in both languages.

    Derives from BaseException because clients retry after any Exception, for minutes.
    """

    def __init__(self, host: str) -> None:
        self.zh = f"连接被引到了本机或内部地址 {host}，已拒绝：请换一个地址"
        self.en = f"the connection was redirected to {host}, an address of this machine or its cloud, and was refused: use another address"
        super().__init__(self.en)


def is_link(host: str) -> bool:
    """Return whether `host` is a link-local or cloud metadata address; names are not resolved."""
    found = _address(host)
    return found is not None and (found.is_link_local or str(found) in _CLOUDS)


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine, as an address or as `localhost`."""
    found = _address(host)
    return host.lower().rstrip(".") == "localhost" or (
        found is not None and (found.is_loopback or found.is_unspecified)
    )


def guard(endpoint: str) -> None:
    """Raise Unreachable for any connection to such an address, for the lifetime of this process.

    The connection itself is checked, after name resolution and redirects, whichever client makes it.
    """
    # A proxy on this machine is the user's own choice.
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
    """Parse an address literal in any notation: `connect` accepts 127.1 and 2130706433 too."""
    bare = host.strip("[]").partition("%")[0]
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        try:
            return ipaddress.ip_address(socket.inet_aton(bare)) if bare else None
        except OSError:
            return None
    return getattr(found, "ipv4_mapped", None) or found
