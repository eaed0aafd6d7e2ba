"""Compresses Streamlit's own scripts and styles, once for all visitors: they are loaded first, through a tunnel.

Streamlit leaves compression to a reverse proxy, of which there is none here. Messages of the pages are not touched.
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

# Streamlit's file names contain a hash of the content, so files may be cached for a year.
_KEPT = "public, immutable, max-age=31536000"
_KINDS = {".js", ".css", ".json", ".svg", ".txt"}
Encoding = Literal["br", "gzip"]


class CompressedFiles:
    """Serves files below `/static/` compressed if the browser supports it; passes everything else on to Streamlit."""

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
    """Return the compressed file, cached for the life of the server; None if it is not a text file.

    Brotli at level 7 reduces Plotly's 4.7 MB to 1.2 MB in 0.2 s, gzip at its best to 1.4 MB in the same time. Except
    for Firefox, browsers accept brotli from this machine's own address, which includes the near end of a tunnel.
    """
    if path.suffix not in _KINDS or not path.is_file():
        return None
    content = path.read_bytes()
    return brotli.compress(content, quality=7) if encoding == "br" else gzip.compress(content, 9, mtime=0)


def compress_ahead() -> None:
    """Compress the chart library, by far the largest file, before somebody waits for it."""
    for path in Path(file_util.get_static_dir()).resolve().glob("static/js/*lotly*.js"):
        for encoding in get_args(Encoding):
            compressed(path, encoding)


def _encoding(scope: Scope) -> Encoding | None:
    """Return the best encoding that the browser accepts."""
    taken = {part.partition(";")[0].strip() for part in Headers(scope=scope).get("accept-encoding", "").split(",")}
    return "br" if "br" in taken else "gzip" if "gzip" in taken else None


def _file(scope: Scope) -> Path | None:
    """Return the Streamlit file that a request asks for, if it may be served compressed."""
    asked = below_base(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else ""
    if not asked.startswith("/static/"):
        return None
    if "range" in Headers(scope=scope):
        return None
    root = Path(file_util.get_static_dir()).resolve()
    path = (root / asked.lstrip("/")).resolve()
    return path if path.is_relative_to(root / "static") else None
