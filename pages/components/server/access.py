"""Access control for HTTP and WebSocket, before everything else, and the headers of every response.

The user's own connections need no token: the kernel tells whose they are. All others do. A refused request creates no
session and never reaches Streamlit. `entrance` and `core.ground.peer` have the rules, `refusal` the texts.
"""

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode
from weakref import WeakKeyDictionary

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.ground import peer
from pages.components.server.entrance import Names, Token
from pages.components.server.refusal import again, refused
from pages.components.server.scripts import hashes

OWN = "own"
_HARMLESS = {"GET", "HEAD", "OPTIONS"}
# Streamlit writes inline styles, and keeps images in memory.
_PAGE_POLICY = "; ".join(
    [
        "default-src 'self'",
        f"script-src 'self' {' '.join(hashes())}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'self' data: blob:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "frame-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
# For the hundred files of a page: its many script hashes would add half the size of the smallest one.
_POLICY = "default-src 'self'; img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'"
_PAGES = ("text/html", "application/xhtml", "image/svg", "text/xml", "application/xml")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Access:
    """Passes permitted requests on; all others end here."""

    def __init__(self, app: ASGIApp, names: Names, token: Token) -> None:
        self._app, self._names, self._token = app, names, token
        # By connection, and discarded with it: another user may have its port a moment later.
        self._visitors: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        answer = self._misdirected(scope) or await self._stranger(scope, receive)
        send = _with_headers(send) if scope["type"] == "http" else send
        if answer is None:
            await self._app(self._as_same_origin(scope), receive, send)
        elif scope["type"] == "http":
            await answer(scope, receive, send)
        else:
            # Closed before it is accepted, so the browser gets 403.
            await send({"type": "websocket.close", "code": 1008})

    def _misdirected(self, scope: Scope) -> Response | None:
        """Return the response to a request meant for another address, or made by a page of another site; else None."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._names.include(hosts[0]):
            return refused("host", 403, host=hosts[0] if hosts else "-")
        if scope["type"] == "websocket" or scope["method"] not in _HARMLESS:
            foreign = any(not self._names.fit(origin, hosts[0]) for origin in origins)
            if foreign or (not origins and headers.get("sec-fetch-site", "none") not in ("same-origin", "none")):
                return refused("origin", 403, host=hosts[0], origin=", ".join(origins) or "-")
        # Nobody here reads it, and it reveals usage.
        if scope["path"].rstrip("/").endswith("/_stcore/metrics"):
            return PlainTextResponse("Not Found", 404)
        return None

    async def _stranger(self, scope: Scope, receive: Receive) -> Response | None:
        """Return the response to a visitor without access; None if the visitor has access."""
        visitor = await self._visitor(scope, receive)
        connection = HTTPConnection(scope)
        words = connection.query_params.getlist("token") if scope["type"] == "http" else []
        if visitor == OWN:
            return _without_token(scope) if words else None
        name = f"xtuner_studio_{(scope.get('server') or ('', 0))[1]}"
        if words:
            answer = self._token.answer(words[0], visitor)
            if answer != "right":
                return refused(answer, 401 if answer == "wrong" else 429, form=True)
            response = _without_token(scope)
            response.set_cookie(name, self._token.ticket(visitor), path=None, httponly=True, samesite="strict")
            return response
        if self._token.holds(connection.cookies.get(name, ""), visitor):
            return None
        # A browser that comes from another site sends no ticket with its first request.
        if (
            connection.headers.get("sec-fetch-site") == "cross-site"
            and connection.headers.get("sec-fetch-mode") == "navigate"
        ):
            return again(_address(scope))
        return refused("token", 401, form=True)

    async def _visitor(self, scope: Scope, receive: Receive) -> str:
        """Return who is at the other end: OWN, another user of this machine, or an address elsewhere."""
        # A client can influence uvicorn's scope with a forwarding header; the connection itself cannot lie.
        transport = getattr(getattr(receive, "__self__", None), "transport", None)
        if transport is None:
            client, server = scope.get("client") or ("", 0), scope.get("server") or ("", 0)
            headers = Headers(scope=scope)
            if "x-forwarded-for" in headers or "x-forwarded-proto" in headers:
                return f"from {client[0]}"
            return await _whose(tuple(client), tuple(server))
        if (known := self._visitors.get(transport)) is not None:
            return known
        client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        visitor = await _whose(client[:2], server[:2]) if client and server else "unknown"
        self._visitors[transport] = visitor
        return visitor

    def _as_same_origin(self, scope: Scope) -> Scope:
        """Adapt the origin for Streamlit, which compares it with Host, if a proxy has put our address into Host."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if origin is None or origin.partition("://")[2] == host or not self._names.fit(origin, host):
            return scope
        changed = MutableHeaders(raw=list(scope["headers"]))
        changed["origin"] = f"http://{host}"
        return {**scope, "headers": changed.raw}


async def _whose(client: peer.Address, server: peer.Address) -> str:
    uid = peer.asked(client, server)
    if uid is None:
        # Reading the kernel's tables may take a while.
        uid = await to_thread.run_sync(peer.read, client, server)
    if peer.is_own(uid):
        return OWN
    return f"from {client[0]}" if uid is None else f"uid {uid}"


def _without_token(scope: Scope) -> Response:
    """Redirect to the same page, to remove the token from the address bar."""
    return RedirectResponse(_address(scope), 303, {"Cache-Control": "no-store"})


def _address(scope: Scope) -> str:
    """Return the page's own relative address, since a proxy may serve it at another path; never another host's."""
    query = [pair for pair in parse_qsl(scope["query_string"].decode("latin-1"), True) if pair[0] != "token"]
    return "./" + quote(scope["path"].rpartition("/")[2], safe="") + ("?" + urlencode(query) if query else "")


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            page = headers.get("content-type", "text/html").startswith(_PAGES)
            headers.setdefault("Content-Security-Policy", _PAGE_POLICY if page else _POLICY)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
