"""What is added to Streamlit's page before a script runs, and that everything else stays as it was."""

import asyncio
import base64
import gzip
import hashlib
from pathlib import Path

from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, PlainTextResponse
from streamlit import file_util

from pages.components.server.first_paint import SCRIPT, STYLE, FirstPaint
from pages.components.server.scripts import hashes

INDEX = Path(file_util.get_static_dir()) / "index.html"
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "accept-encoding": "gzip"}
PAGE = HTMLResponse(INDEX.read_bytes(), headers={"etag": '"1"', "last-modified": "today"})


def ask(answer, headers):
    """Return status, headers and body from our middleware in front of a server that compresses its answer."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/train",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(FirstPaint(GZipMiddleware(answer))(scope, None, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(message["body"] for message in sent[1:])


def test_the_page_has_our_part_once_at_the_end_of_its_head():
    _, headers, body = ask(PAGE, BROWSER)
    before, _, after = INDEX.read_text(encoding="utf-8").partition("</head>")
    assert body.decode() == f"{before}<style>{STYLE}</style><script>{SCRIPT}</script></head>{after}"
    assert int(headers["content-length"]) == len(body)
    # The browser runs no script whose hash it was not given.
    assert f"'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'" in hashes()


def test_a_browser_cannot_keep_a_page_that_streamlit_alone_has_the_version_of():
    assert "etag" in ask(PAGE, {"accept": "*/*"})[1]
    _, headers, _ = ask(PAGE, BROWSER)
    assert "etag" not in headers
    assert "last-modified" not in headers


def test_the_question_for_a_newer_version_is_not_passed_on():
    async def server(scope, receive, send):
        names = {name for name, _ in scope["headers"]}
        await PlainTextResponse(f"{sorted(names)}")(scope, receive, send)

    _, _, body = ask(server, {**BROWSER, "if-none-match": '"x"', "if-modified-since": "y", "cookie": "z"})
    assert body == b"[b'accept', b'cookie']"


def test_other_answers_are_not_touched():
    assert ask(PlainTextResponse("</head>" * 500), BROWSER)[2] == b"</head>" * 500
    assert gzip.decompress(ask(PAGE, {"accept": "*/*", "accept-encoding": "gzip"})[2]) == INDEX.read_bytes()
