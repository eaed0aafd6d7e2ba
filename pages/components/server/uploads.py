"""Large uploads, written to disk as they come: Streamlit itself holds an upload in memory, of 1 GB a whole one.

A layer before Streamlit's own upload route: that one still checks the XSRF token, the session and the size, and only
when it asks for the body is the file read, past the memory, to the workspace; Streamlit is given an empty file of the
same name. Who wants the content asks `spooled`, or `content` where it fits in memory. Small uploads go by untouched.
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

# Smaller ones cost no memory worth a detour.
LARGE = 4 << 20
_ADDRESS = re.compile(r"/_stcore/upload_file/[\w-]+/([\w-]+)")
# What a page never came to fetch, its tab having been closed, is taken away after a day.
_KEPT_SECONDS = 86_400.0
_HERE: dict[str, Path] = {}


def spooled(file_id: str) -> Path | None:
    """Where the content of an upload lies, for the caller to move away; None for one that is in memory."""
    path = _HERE.pop(file_id, None)
    return path if path is not None and path.is_file() else None


def content(file: UploadedFile) -> bytes:
    """All of an upload, wherever it lies; for what may not be large. Asked once, as `spooled` is."""
    there = spooled(file.file_id)
    if there is None:
        return file.getvalue()
    try:
        return there.read_bytes()
    finally:
        there.unlink(missing_ok=True)


class SpooledUploads:
    """Writes the large uploads among all requests to disk; everything else goes on to Streamlit."""

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
            """What Streamlit reads in place of the file, once it has found nothing against it."""
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
    """Read the request to the workspace; a request of the same form with nothing in its file."""
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
        # What did not fit is of no use, and takes the room of others.
        path.unlink(missing_ok=True)
        raise
    return path


def _large(scope: Scope) -> str | None:
    """The id of the upload that a request is, where it is a large one."""
    if scope["type"] != "http" or scope["method"] != "PUT":
        return None
    found = _ADDRESS.fullmatch(below_base(scope["path"]))
    length = Headers(scope=scope).get("content-length", "")
    return found[1] if found and length.isdecimal() and int(length) > LARGE else None
