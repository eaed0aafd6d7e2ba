"""The conditions for access: one of our host names, an origin at the same address, the token.

Only rules, independent of requests: `access` applies them. `core.ground.peer` identifies the user behind a connection.
"""

import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from core.ground.bootstrap import ACCESS_TOKEN, PROXY

# The near end of a tunnel, and this machine itself.
_OWN = {"127.0.0.1", "localhost", "[::1]"}
_PLACE = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?)\.?(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://([^/?#@\\\s]+)")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
# Wrong tokens that one visitor may send in a row before waiting; afterwards one more each second.
TRIES = 3
Answer = Literal["right", "wrong", "too_often"]


@dataclass(frozen=True, slots=True)
class Names:
    """The names under which the app is reachable: its own, every bare IP address, and those of permitted web proxies.

    A page of another site can point its own host name here, but not an IP address; so addresses need no permission.
    """

    proxies: frozenset[str] = frozenset()

    @classmethod
    def of_environment(cls) -> "Names":
        """Read the proxies named in `make run PROXY=…`, separated by commas; each a name, or a name and a port."""
        return cls(frozenset(name.strip().lower() for name in os.environ.get(PROXY, "").split(",") if name.strip()))

    def include(self, host: str) -> bool:
        """Return whether a request's Host is one of ours."""
        place = _place(host)
        return place is not None and (place[0] in _OWN or _is_address(place[0]) or self._of_proxy(*place))

    def fit(self, origin: str, host: str) -> bool:
        """Return whether a page of `origin` was loaded from `host`: the same name and port.

        A proxy may have put our own address into Host; the page still has the proxy's name as origin.
        """
        found = _ORIGIN.fullmatch(origin.lower())
        here, there = _place(host), _place(found[2]) if found else None
        if found is None or here is None or there is None:
            return False
        default = _DEFAULT_PORTS[found[1]]
        if (here[0], here[1] or default) == (there[0], there[1] or default):
            return True
        return here[0] in _OWN and self._of_proxy(there[0], None if there[1] == default else there[1], exactly=True)

    def _of_proxy(self, name: str, port: str | None, *, exactly: bool = False) -> bool:
        """`exactly`: a proxy permitted without a port does not match all ports."""
        return f"{name}:{port}" in self.proxies or (name in self.proxies and not (exactly and port))


class Token:
    """The token that admits visitors not identified by their connection, and the tickets for those who knew it.

    A ticket is valid for one visitor and until the server exits, because a browser may send it to other servers at this
    address.
    """

    def __init__(self, word: str, now: Callable[[], float] = time.monotonic) -> None:
        self.word = word
        self._now = now
        self._key = secrets.token_bytes(32)
        # By visitor: the time when the attempts so far are forgotten.
        self._forgotten: dict[str, float] = {}

    @classmethod
    def of_environment(cls) -> "Token":
        """Take the token that `make run` created or was given, which no child process may inherit; else create one."""
        return cls(os.environ.pop(ACCESS_TOKEN, "") or secrets.token_urlsafe(24))

    def answer(self, word: str, visitor: str) -> Answer:
        """Return the answer to a `visitor` who tries `word`. A few wrong ones are allowed, then one a second."""
        now = self._now()
        self._forgotten = {who: until for who, until in self._forgotten.items() if until > now}
        until = self._forgotten.get(visitor, now)
        if until - now > TRIES - 1:
            return "too_often"
        if hmac.compare_digest(word.encode(), self.word.encode()):
            return "right"
        self._forgotten[visitor] = until + 1
        return "wrong"

    def ticket(self, visitor: str) -> str:
        """Return the ticket that `visitor` sends from now on."""
        return hmac.new(self._key, visitor.encode(), hashlib.sha256).hexdigest()

    def holds(self, ticket: str, visitor: str) -> bool:
        """Return whether a ticket is this visitor's."""
        return hmac.compare_digest(ticket.encode(), self.ticket(visitor).encode())


def _place(text: str) -> tuple[str, str | None] | None:
    """Return name and port of a Host header or an origin."""
    found = _PLACE.fullmatch(text.lower())
    return (found[1], found[2]) if found else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
