"""What every page has before its first script runs: room for what comes late, and its top in view, so that nothing moves
while it opens.

Streamlit's `index.html` gets our style and a script of a few lines; both stand beside this file. What depends on the
page or the language is drawn by the page itself.
"""

from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HERE = Path(__file__)
STYLE = _HERE.with_suffix(".css").read_text(encoding="utf-8").strip()
SCRIPT = _HERE.with_suffix(".js").read_text(encoding="utf-8").strip()
_ADDED = f"<style>{STYLE}</style><script>{SCRIPT}</script></head>".encode()
# The page is sent whole each time, because the version of Streamlit's page is not that of ours; and as text.
_VERSIONS = ("etag", "last-modified")
_NOT_ASKED = (b"if-none-match", b"if-modified-since", b"accept-encoding")


class FirstPaint:
    """Adds our part to the head of Streamlit's page; passes everything else on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if (
            scope["type"] != "http"
            or scope["method"] != "GET"
            or b"text/html" not in dict(scope["headers"]).get(b"accept", b"")
        ):
            await self._app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name not in _NOT_ASKED]
        await self._app({**scope, "headers": headers}, receive, _with_our_part(send))


def _with_our_part(send: Send) -> Send:
    start: Message = {}
    body = bytearray()

    async def sending(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
        if not MutableHeaders(raw=start["headers"]).get("content-type", "").startswith("text/html"):
            await send(message)
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            page = bytes(body).replace(b"</head>", _ADDED, 1)
            headers = MutableHeaders(scope=start)
            for name in _VERSIONS:
                if name in headers:
                    del headers[name]
            headers["content-length"] = str(len(page))
            await send(start)
            await send({**message, "body": page})

    return sending
