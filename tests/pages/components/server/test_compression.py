"""Streamlit's own files as sent by `app.py`: smaller, with the same content."""

import asyncio
import gzip
from pathlib import Path

import brotli
import pytest
from streamlit import file_util

from pages.components.server.compression import CompressedFiles, compress_ahead, compressed


def ask(path: str, headers: dict[str, str]) -> tuple[dict[str, str], bytes]:
    """Return headers and body of the response, from our middleware in front of a server that records requests."""
    sent = []

    async def streamlit(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"from Streamlit"})

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(CompressedFiles(streamlit)(scope, None, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return found, b"".join(message["body"] for message in sent[1:])


@pytest.fixture
def script():
    """Return one of Streamlit's scripts."""
    return max((Path(file_util.get_static_dir()) / "static" / "js").glob("index.*.js"), key=lambda p: p.stat().st_size)


@pytest.mark.parametrize(("takes", "encoding"), [("gzip, deflate, br, zstd", "br"), ("gzip, deflate", "gzip")])
def test_a_script_is_sent_compressed_and_may_be_kept(script, takes, encoding):
    headers, body = ask(f"/static/js/{script.name}", {"Accept-Encoding": takes})
    assert headers["content-encoding"] == encoding
    assert headers["content-type"].startswith("text/javascript")
    assert "immutable" in headers["cache-control"]
    assert len(body) < script.stat().st_size / 2
    assert (brotli.decompress if encoding == "br" else gzip.decompress)(body) == script.read_bytes()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/static/js/SCRIPT", {"Accept-Encoding": "identity"}),
        ("/static/js/SCRIPT", {"Accept-Encoding": "br", "Range": "bytes=0-9"}),
        ("/static/js/none.js", {"Accept-Encoding": "br"}),
        ("/static/../index.html", {"Accept-Encoding": "br"}),
        ("/static/../../../config.py", {"Accept-Encoding": "br"}),
        ("/train", {"Accept-Encoding": "br"}),
    ],
)
def test_everything_else_is_left_to_streamlit(script, path, headers):
    assert ask(path.replace("SCRIPT", script.name), headers) == ({}, b"from Streamlit")


def test_the_program_of_the_charts_is_compressed_before_it_is_asked_for():
    compressed.cache_clear()
    compress_ahead()
    assert compressed.cache_info().currsize >= 2
