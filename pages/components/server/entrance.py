"""What a request must say to come in: a name that is ours, an origin that is the same address, the token.

Rules alone, without a request: `access` asks them. Whose a connection is, is `core.ground.peer`'s to say.
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
# Wrong tokens in a row that one visitor may send before waiting, and how many more each second.
TRIES = 3
Answer = Literal["right", "wrong", "too_often"]


@dataclass(frozen=True, slots=True)
class Names:
    """Under which names the app is reached: its own, every bare IP address, and those of web proxies that were let in.

    A page of another site can make its own name lead here, but never an address; so addresses need no leave.
    """

    proxies: frozenset[str] = frozenset()

    @classmethod
    def of_environment(cls) -> "Names":
        """With the proxies that `make run PROXY=…` named, separated by commas; each a name, or a name and a port."""
        return cls(frozenset(name.strip().lower() for name in os.environ.get(PROXY, "").split(",") if name.strip()))

    def include(self, host: str) -> bool:
        """Whether a request's Host is one of ours."""
        place = _place(host)
        return place is not None and (place[0] in _OWN or _is_address(place[0]) or self._of_proxy(*place))

    def fit(self, origin: str, host: str) -> bool:
        """Whether a page of `origin` is one that was reached at `host`: the same name and the same port.

        A proxy may have put our own address into Host; the page is then still at the proxy's name.
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
        """`exactly`: a name that was let in without a port does not stand for all its ports."""
        return f"{name}:{port}" in self.proxies or (name in self.proxies and not (exactly and port))


class Token:
    """The word that lets in whoever's connection says nothing of them, and the tickets for those who knew it.

    A ticket is good for one visitor and until the server ends, so that a browser may show it to others at this address.
    """

    def __init__(self, word: str, now: Callable[[], float] = time.monotonic) -> None:
        self.word = word
        self._now = now
        self._key = secrets.token_bytes(32)
        # By visitor: when the tries that were made are forgotten.
        self._forgotten: dict[str, float] = {}

    @classmethod
    def of_environment(cls) -> "Token":
        """The one that `make run` made or was given, which no child of this process is to inherit; else a new one."""
        return cls(os.environ.pop(ACCESS_TOKEN, "") or secrets.token_urlsafe(24))

    def answer(self, word: str, visitor: str) -> Answer:
        """What to say to `visitor`, who tries `word`. Wrong ones are taken a few at once, then one a second."""
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
        """What `visitor` is to show from now on."""
        return hmac.new(self._key, visitor.encode(), hashlib.sha256).hexdigest()

    def holds(self, ticket: str, visitor: str) -> bool:
        """Whether a ticket is this visitor's."""
        return hmac.compare_digest(ticket.encode(), self.ticket(visitor).encode())


def _place(text: str) -> tuple[str, str | None] | None:
    """Name and port of a Host header, or of an origin."""
    found = _PLACE.fullmatch(text.lower())
    return (found[1], found[2]) if found else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
