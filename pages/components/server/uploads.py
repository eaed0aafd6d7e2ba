"""Writes large uploads to disk as they arrive: Streamlit itself holds an upload in memory, up to 1 GB.

A layer in front of Streamlit's own upload route, which still checks XSRF token, session and size. Only when it asks for
the body is the file read, bypassing memory, into the workspace; Streamlit gets an empty file of the same name.
Consumers call `spooled`, or `content` if the file fits in memory. Small uploads pass through unchanged.
"""

import contextlib
import re
import shutil
import time
from pathlib import Path

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.datastructures import UploadFile as GivenFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.ground.workspace import Workspace
from pages.components.server.location import below_base

# Smaller uploads are not worth the detour.
LARGE = 4 << 20
_ADDRESS = re.compile(r"/_stcore/upload_file/[\w-]+/([\w-]+)")
# Uploads that a page never fetched, because its tab was closed, are deleted after a day.
_KEPT_SECONDS = 86_400.0
_HERE: dict[str, Path] = {}


def spooled(file_id: str) -> Path | None:
    """Return the file of an upload, for the caller to move; None if it is in memory."""
    path = _HERE.pop(file_id, None)
    return path if path is not None and path.is_file() else None


def content(file: UploadedFile) -> bytes:
    """Return the content of an upload, wherever it is, for small files. Can be called once, like `spooled`."""
    there = spooled(file.file_id)
    if there is None:
        return file.getvalue()
    try:
        return there.read_bytes()
    finally:
        there.unlink(missing_ok=True)


class SpooledUploads:
    """Writes large uploads to disk; passes everything else on to Streamlit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        file_id = _large(scope)
        if file_id is None:
            await self._app(scope, receive, send)
            return
        told = False

        async def instead() -> Message:
            """Return the message that Streamlit reads in place of the file, after its checks have passed."""
            nonlocal told
            if told:
                return await receive()
            told = True
            body = await _written(Request(scope, receive), file_id)
            return {"type": "http.request", "body": body, "more_body": False}

        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, instead, watched)
        finally:
            if status >= 400 and (path := spooled(file_id)):
                path.unlink(missing_ok=True)


async def _written(request: Request, file_id: str) -> bytes:
    """Read the request into the workspace; return a request of the same form with an empty file."""
    name = "file"
    try:
        async with request.form(max_files=2) as form:
            given = [value for value in form.values() if isinstance(value, GivenFile)]
            if given:
                name = re.sub(r'[\r\n"]', "'", given[0].filename or name)
                _HERE[file_id] = await to_thread.run_sync(_keep, given[0], file_id)
    except OSError as error:
        raise HTTPException(507, detail=f"{error.strerror}: {error.filename}") from error
    boundary = re.search(r'boundary="?([^";]+)', request.headers["content-type"])
    line = f"--{boundary[1] if boundary else ''}"
    kind = f'Content-Disposition: form-data; name="file"; filename="{name}"'
    return f"{line}\r\n{kind}\r\nContent-Type: application/octet-stream\r\n\r\n\r\n{line}--\r\n".encode()


def _keep(given: GivenFile, file_id: str) -> Path:
    place = Workspace.open().drafts / "uploads-arriving"
    place.mkdir(parents=True, exist_ok=True)
    for old in place.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                old.unlink()
    path = place / file_id
    try:
        with path.open("wb") as target:
            shutil.copyfileobj(given.file, target, 1 << 20)
    except OSError:
        # An incomplete file is useless and takes up space.
        path.unlink(missing_ok=True)
        raise
    return path


def _large(scope: Scope) -> str | None:
    """Return the id of the upload if the request is a large one."""
    if scope["type"] != "http" or scope["method"] != "PUT":
        return None
    found = _ADDRESS.fullmatch(below_base(scope["path"]))
    length = Headers(scope=scope).get("content-length", "")
    return found[1] if found and length.isdecimal() and int(length) > LARGE else None
