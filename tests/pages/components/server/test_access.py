"""Access control in front of Streamlit: a real server and real connections, with a small app in Streamlit's place."""

import http.client
import itertools
import json
import os
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from core.ground import peer
from core.jobs.job import wait_until
from pages.components.server.access import Access
from pages.components.server.entrance import TRIES, Names, Token
from tests.conftest import PATIENCE
from tests.fakes.users import needs_root, stranger

WORD = "a-word-that-is-long-enough"
PROXY = "studio.example.org"
UIDS = itertools.count(60_000)
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


@dataclass
class Site:
    """The server, and the requests that reached the app behind access control."""

    port: int
    came: list[str] = field(default_factory=list)
    # Seconds, by which wrong words are forgotten.
    now: float = 0.0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, path="/", method="GET", to="127.0.0.1", **headers):
        """Return status, headers and text of the response; `_` in a header's name becomes a dash."""
        connection = http.client.HTTPConnection(to, self.port, timeout=PATIENCE)
        given = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        connection.request(method, path, headers={"Host": self.host, **given})
        answer = connection.getresponse()
        try:
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            connection.close()

    def socket(self, **headers):
        """Return the status of a WebSocket handshake: 101, or that of the refusal."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        with socket.create_connection(("127.0.0.1", self.port)) as line:
            try:
                with connect(f"ws://{given.pop('Host', self.host)}/stream", sock=line, additional_headers=given):
                    return 101
            except InvalidStatus as refused:
                return refused.response.status_code


@pytest.fixture(scope="module")
def site():
    """One server for all tests here, which differ in who asks, and for what."""
    found = Site(0)

    async def page(request):
        found.came.append(f"{request.method} {request.url.path}")
        kind = "text/html" if request.url.path == "/train" else "application/json"
        return JSONResponse(dict(request.headers), media_type=kind)

    async def stream(websocket):
        found.came.append("stream")
        await websocket.accept()
        await websocket.close()

    app = Starlette(
        routes=[WebSocketRoute("/stream", stream), Route("/{path:path}", page, methods=["GET", *UNSAFE])],
        middleware=[
            Middleware(
                Access, names=Names(frozenset({PROXY, "other.example:8443"})), token=Token(WORD, lambda: found.now)
            )
        ],
    )
    # As Streamlit runs it.
    server = uvicorn.Server(uvicorn.Config(app, ws="websockets-sansio", log_config=None))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        found.port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        assert wait_until(lambda: server.started, PATIENCE)
        yield found
        server.should_exit = True
        thread.join(PATIENCE)


@pytest.fixture(autouse=True)
def nothing_came(site):
    site.came.clear()


@pytest.fixture
def nobody(monkeypatch):
    """All visitors are strangers, a new one in each test, since wrong attempts are remembered."""
    uid = next(UIDS)
    monkeypatch.setattr(peer, "is_own", lambda _: False)
    monkeypatch.setattr(peer, "asked", lambda *_: uid)


def test_one_s_own_connection_needs_nothing(site):
    status, headers, _ = site.ask("/train?run=latest")
    assert (status, site.came) == (200, ["GET /train"])
    assert site.socket() == 101
    policy = headers["content-security-policy"]
    for part in ("frame-ancestors 'none'", "img-src 'self' data: blob:", "connect-src 'self'", "default-src 'self'"):
        assert part in policy.split("; ")
    assert "unsafe-inline" not in re.search(r"script-src [^;]*", policy)[0]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert "set-cookie" not in headers
    # Files other than pages name no scripts, but the rest of the policy applies to them too.
    short = site.ask("/static/x.js")[1]["content-security-policy"]
    assert "script-src" not in short
    assert {"frame-ancestors 'none'", "img-src 'self' data: blob:", "connect-src 'self'"} <= set(short.split("; "))


def test_the_token_leaves_one_s_own_address_bar_too(site):
    status, headers, _ = site.ask(f"/train?run=latest&token={WORD}")
    assert (status, headers["location"]) == (303, "./train?run=latest")
    assert site.ask("/?token=wrong")[1]["location"] == "./"
    assert site.came == []


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "/%2f%2fevil.example", "/a//b", "/x:y"])
def test_it_never_leads_to_another_host(site, path):
    status, headers, _ = site.ask(f"{path}?token={WORD}")
    assert status == 303
    assert headers["location"].startswith("./")
    assert urlsplit(headers["location"]).netloc == ""


@pytest.mark.usefixtures("nobody")
def test_a_stranger_is_asked_and_comes_in_with_the_token(site):
    status, headers, text = site.ask("/train")
    assert status == 401
    assert "访问令牌" in text
    assert "access token" in text
    assert not re.search(r"(src|href)=", text)
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert [site.ask("/x", method, Origin=f"http://{site.host}")[0] for method in UNSAFE] == [401] * 4
    assert site.socket() == 403
    assert site.came == []

    status, headers, _ = site.ask(f"/train?token={WORD}&run=latest")
    assert (status, headers["location"]) == (303, "./train?run=latest")
    cookie, *rest = headers["set-cookie"].split("; ")
    assert {part.lower() for part in rest} == {"httponly", "samesite=strict"}
    assert WORD not in cookie
    assert site.came == []
    assert site.ask("/train", Cookie=cookie)[0] == 200
    assert site.socket(Cookie=cookie, Origin=f"http://{site.host}") == 101
    assert site.ask("/train", Cookie=cookie[:-1] + "_")[0] == 401
    assert site.ask("/train", Cookie=f"{cookie.partition('=')[0]}={WORD}")[0] == 401
    assert site.came == ["GET /train", "stream"]


@pytest.mark.usefixtures("nobody")
def test_a_ticket_is_no_one_else_s(site, monkeypatch):
    """A browser sends cookies to every port of a host, so another user's server may have seen them."""
    cookie = site.ask(f"/?token={WORD}")[1]["set-cookie"].partition(";")[0]
    assert site.ask("/", Cookie=cookie)[0] == 200
    monkeypatch.setattr(peer, "asked", lambda *_: 7)
    assert site.ask("/", Cookie=cookie)[0] == 401


@pytest.mark.usefixtures("nobody")
def test_few_wrong_words_are_taken(site):
    said = [site.ask("/?token=wrong")[0] for _ in range(TRIES + 3)]
    assert said == [401] * TRIES + [429] * 3
    assert site.ask(f"/?token={WORD}")[0] == 429
    site.now += 1.1
    assert site.ask(f"/?token={WORD}")[0] == 303


def test_words_are_forgotten_in_time():
    now = [100.0]
    token = Token(WORD, lambda: now[0])
    assert [token.answer("x", "a") for _ in range(TRIES + 1)] == ["wrong"] * TRIES + ["too_often"]
    assert token.answer(WORD, "b") == "right"
    now[0] += 1.1
    assert [token.answer("x", "a"), token.answer("x", "a")] == ["wrong", "too_often"]
    now[0] += TRIES
    assert token.answer(WORD, "a") == "right"
    assert token.answer("字", "c") == "wrong"
    assert not token.holds("字", "a")


@pytest.mark.usefixtures("nobody")
def test_who_comes_from_another_site_shows_the_ticket_the_second_time(site):
    cross = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    status, _, text = site.ask('/train?run="><b>', **cross)
    assert status == 401
    assert 'content="0;url=./train?run=%22%3E%3Cb%3E"' in text
    assert "token" not in text


@pytest.mark.parametrize("forged", ["127.0.0.1", "127.0.0.1:{port}", "unknown", "::1, 127.0.0.1"])
@needs_root
def test_a_forwarding_header_makes_nobody_an_owner(site, forged):
    """Uvicorn trusts such headers from loopback, which every user of the machine can use."""
    with socket.create_connection(("127.0.0.1", site.port)) as own:
        # Kept open, like a browser does: everybody can see its port in /proc/net/tcp.
        name = forged.format(port=own.getsockname()[1])

        def attempt():
            headers = {"X-Forwarded-For": name, "X-Forwarded-Proto": "http"}
            return (
                site.ask("/", X_Forwarded_For=name)[0],
                site.ask("/x", "POST", X_Forwarded_For=name)[0],
                site.socket(**headers),
            )

        assert stranger(attempt) == (401, 401, 403)
    assert site.ask("/", X_Forwarded_For="203.0.113.9")[0] == 200


@needs_root
def test_another_user_comes_in_with_the_token_only(site):
    def attempt():
        without = site.ask("/")[0], site.ask("/x", "PUT")[0], site.socket()
        cookie = site.ask(f"/?token={WORD}")[1]["set-cookie"].partition(";")[0]
        return without, (site.ask("/", Cookie=cookie)[0], site.socket(Cookie=cookie)), cookie

    without, with_it, cookie = stranger(attempt)
    assert without == (401, 401, 403)
    assert with_it == (200, 101)
    assert site.came == ["GET /", "stream"]
    assert stranger(lambda: (site.ask("/", Cookie=cookie)[0], site.socket(Cookie=cookie)), uid=54_322) == (401, 403)


@needs_root
def test_who_asks_and_leaves_does_nothing(site):
    """The remains of a closed connection look like root's, and a request works without waiting for its response."""

    def attempt():
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", site.port)) as line:
                line.sendall(f"DELETE /all HTTP/1.1\r\nHost: {site.host}\r\n\r\n".encode())
        return site.ask("/")[0]

    assert stranger(attempt) == 401
    time.sleep(0.3)
    assert site.came == []


@needs_root
def test_a_port_that_was_one_s_own_is_another_s_later(site):
    """The same client port, first ours, then a stranger's."""

    def ask(port):
        connection = http.client.HTTPConnection("127.0.0.1", site.port, source_address=("127.0.0.1", port))
        connection.connect()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.request("GET", "/")
        status = connection.getresponse().status
        # With a reset, which leaves no port in TIME_WAIT.
        connection.close()
        return status

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert ask(port) == 200
    assert stranger(lambda: ask(port)) == 401


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:1",
        "http://localhost:{port}",
        "http://127.0.0.1",
        "http://evil.example",
        "http://127.0.0.1:{port}.evil.example",
        "http://evil.example@127.0.0.1:{port}",
        "https://127.0.0.1",
        f"https://{PROXY}:1",
        "null",
        "",
    ],
)
def test_other_pages_change_nothing(site, method, origin):
    origin = origin.format(port=site.port)
    status, _, text = site.ask("/_stcore/upload_file/a/b", method, Origin=origin)
    assert status == 403
    assert "PROXY=" in text
    assert site.socket(Origin=origin) == 403
    assert site.came == []


def test_a_page_of_this_very_address_may(site):
    assert site.ask("/x", "PUT", Origin=f"http://{site.host}")[0] == 200
    assert site.ask("/x", "PUT", Origin=f"http://{site.host}".upper())[0] == 200
    assert site.ask("/x", "PUT", Sec_Fetch_Site="same-origin")[0] == 200
    assert site.ask("/x", "PUT")[0] == 200
    assert site.ask("/x", "PUT", Sec_Fetch_Site="cross-site")[0] == 403
    assert site.ask("/x", "PUT", Sec_Fetch_Site="same-site")[0] == 403
    # The near end of a tunnel has another port.
    assert site.ask("/x", "PUT", Host="localhost:8600", Origin="http://localhost:8600")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8501", "127.0.0.1.evil.example", "localhost.evil", "", "a b", "[::1", "127.0.0.1:x"])  # fmt: skip
def test_other_names_lead_nowhere(site, host):
    status, _, text = site.ask("/", Host=host)
    assert status in (400, 403)
    if status == 403:
        assert "make run PROXY=" in text
        assert "XTUNER_STUDIO_PROXY=" in text
    assert site.came == []


def test_what_a_name_says_is_not_html(site):
    _, _, text = site.ask("/", Host="<img src=x>")
    assert "<img" not in text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8600", "localhost.", "[::1]:8501", "192.168.1.5:8501"])
def test_our_own_names(site, host):
    assert site.ask("/", Host=host)[0] == 200


def test_a_proxy_that_was_let_in(site):
    for host in (PROXY, f"{PROXY}:8443", PROXY.upper(), "other.example:8443"):
        assert site.ask("/", Host=host)[0] == 200
        assert site.ask("/x", "POST", Host=host, Origin=f"https://{host}")[0] == 200
        assert site.ask("/x", "POST", Host=host, Origin="https://elsewhere.example")[0] == 403
    assert site.ask("/", Host="other.example")[0] == 403
    # A proxy that replaces its name by our address: Streamlit would take the page for a foreign one.
    status, _, text = site.ask("/x", "POST", Origin=f"https://{PROXY}")
    assert status == 200
    assert json.loads(text)["origin"] == f"http://{site.host}"
    assert site.ask("/x", "POST", Origin="https://other.example:8443")[0] == 200
    assert site.ask("/x", "POST", Origin="https://other.example")[0] == 403


def test_names_from_the_environment(monkeypatch):
    monkeypatch.setenv("XTUNER_STUDIO_PROXY", f" {PROXY} , Other.Example:8443,")
    assert Names.of_environment() == Names(frozenset({PROXY, "other.example:8443"}))
    monkeypatch.delenv("XTUNER_STUDIO_PROXY")
    assert Names.of_environment() == Names()
    assert not Names().include("")


def test_the_token_is_new_unless_it_was_chosen_and_no_child_inherits_it(monkeypatch):
    monkeypatch.setenv("XTUNER_STUDIO_ACCESS_TOKEN", WORD)
    assert Token.of_environment().word == WORD
    assert "XTUNER_STUDIO_ACCESS_TOKEN" not in os.environ
    new = {Token.of_environment().word for _ in range(3)}
    assert len(new) == 3
    assert min(map(len, new)) >= 32


def test_figures_of_the_server_are_nobody_s(site):
    assert site.ask("/_stcore/metrics")[0] == 404
    assert site.ask("/proxy/8501/_stcore/metrics/")[0] == 404
    assert site.came == []
