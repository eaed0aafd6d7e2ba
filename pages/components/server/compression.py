"""Streamlit's own scripts and styles, compressed once for all who ask: what a browser loads first through a tunnel.

Streamlit leaves this to a proxy in front of it, which there is none of here. Its pages' messages are not touched.
"""

import gzip
import mimetypes
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import brotli
from anyio import to_thread
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import file_util

from pages.components.server.location import below_base

# Streamlit names its files by their content, so that they may be kept for a year.
_KEPT = "public, immutable, max-age=31536000"
_KINDS = {".js", ".css", ".json", ".svg", ".txt"}
Encoding = Literal["br", "gzip"]


class CompressedFiles:
    """Answers what is below `/static/` compressed, where the browser takes that; everything else goes on to Streamlit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = _file(scope)
        encoding = _encoding(scope) if path else None
        body = await to_thread.run_sync(compressed, path, encoding) if path and encoding else None
        if path is None or body is None:
            await self._app(scope, receive, send)
            return
        kind = mimetypes.guess_type(path.name)[0] or "text/plain"
        headers = {"Content-Encoding": encoding, "Cache-Control": _KEPT, "Vary": "Accept-Encoding"}
        await Response(body, media_type=kind, headers=headers)(scope, receive, send)


@lru_cache(maxsize=512)
def compressed(path: Path, encoding: Encoding) -> bytes | None:
    """The file compressed, once for the life of the server; None for what is no file of text.

    Brotli at 7 makes Plotly's 4.7 MB 1.2 MB in 0.2 s, gzip at its best 1.4 MB in as long; browsers take brotli from
    this machine's own address, which the near end of a tunnel is, except for Firefox.
    """
    if path.suffix not in _KINDS or not path.is_file():
        return None
    content = path.read_bytes()
    return brotli.compress(content, quality=7) if encoding == "br" else gzip.compress(content, 9, mtime=0)


def compress_ahead() -> None:
    """The program of the charts, which is by far the largest, before someone waits for it."""
    for path in Path(file_util.get_static_dir()).resolve().glob("static/js/*lotly*.js"):
        for encoding in get_args(Encoding):
            compressed(path, encoding)


def _encoding(scope: Scope) -> Encoding | None:
    """The best that the browser says it takes."""
    taken = {part.partition(";")[0].strip() for part in Headers(scope=scope).get("accept-encoding", "").split(",")}
    return "br" if "br" in taken else "gzip" if "gzip" in taken else None


def _file(scope: Scope) -> Path | None:
    """Streamlit's file that a request asks for, if it may be answered compressed."""
    asked = below_base(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else ""
    if not asked.startswith("/static/"):
        return None
    if "range" in Headers(scope=scope):
        return None
    root = Path(file_util.get_static_dir()).resolve()
    path = (root / asked.lstrip("/")).resolve()
    return path if path.is_relative_to(root / "static") else None
