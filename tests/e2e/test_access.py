"""Access control with the real app behind it: another user of the machine, SSH tunnels, a browser under the policy."""

import contextlib
import getpass
import http.client
import os
import pwd
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from core.chat.conversation import Exchange, new_conversation
from core.config import own_recipe
from core.ground.workspace import Workspace
from core.jobs.job import Status, wait_until
from core.report import writeup
from pages.components.text import catalogue
from tests.conftest import PATIENCE
from tests.e2e.server import CHROMIUM, WITHOUT_CHROMIUM, Server, chromium, upload
from tests.fakes.users import needs_root, stranger
from tests.ports import free_port

WORD = "the-word-of-these-tests"
PAGES = ("", "dataset", "config", "train", "export", "chat", "report")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))


@pytest.fixture
def server(workspace: Workspace) -> Iterator[Server]:
    served = Server({"XTUNER_STUDIO_HOME": str(workspace.root), "XTUNER_STUDIO_ACCESS_TOKEN": WORD})
    served.start()
    yield served
    served.kill()


def page_status(port: int, path: str = "/", cookie: str = "") -> tuple[int, str]:
    """Return the status of the response, and the cookie it sets."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", path, headers={"Cookie": cookie})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, (answer.getheader("set-cookie") or "").partition(";")[0]


def stream_status(port: int, cookie: str = "") -> int:
    """Return the status of the handshake of Streamlit's own WebSocket."""
    origin = f"http://127.0.0.1:{port}"
    address = f"ws://127.0.0.1:{port}/_stcore/stream"
    try:
        with connect(address, subprotocols=["streamlit"], origin=origin, additional_headers={"Cookie": cookie}):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.fixture
def account() -> Iterator[str]:
    """A second user of this machine for the duration of a test."""
    if os.geteuid() != 0 or shutil.which("useradd") is None:
        pytest.skip("a second user needs root and useradd")
    name = f"studio{uuid.uuid4().hex[:6]}"
    made = subprocess.run(["useradd", "--create-home", "--password", "*", "--shell", "/bin/sh", name], capture_output=True, text=True, check=False)  # fmt: skip
    if made.returncode:
        pytest.skip(f"this machine makes no users: {made.stderr.strip()}")
    yield name
    subprocess.run(["userdel", "--remove", name], capture_output=True, check=False)


@needs_root
def test_another_user_s_attempts_and_the_token(server: Server, account: str) -> None:
    uid, port = pwd.getpwnam(account).pw_uid, server.port
    assert stranger(lambda: (page_status(port)[0], stream_status(port)), uid) == (401, 403)
    assert (page_status(port)[0], stream_status(port)) == (200, 101)

    def with_the_token() -> tuple[int, int, int]:
        entered, cookie = page_status(port, f"/?token={WORD}")
        return entered, page_status(port, "/train", cookie)[0], stream_status(port, cookie)

    assert stranger(with_the_token, uid) == (303, 200, 101)


@contextlib.contextmanager
def tunnel(directory: Path, user: str, to: int) -> Iterator[int]:
    """Open an SSH tunnel as `user` through a real sshd on loopback, with its own keys; yields the near port."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("a tunnel needs sshd: apt-get install openssh-server")
    far, near = free_port(), free_port()
    home = Path(pwd.getpwnam(user).pw_dir) / f".studio-{uuid.uuid4().hex[:8]}"
    home.mkdir()
    home.chmod(0o755)
    try:
        for name in ("host", "client"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
        (home / "keys").write_text((directory / "client.pub").read_text())
        # sshd reads it as the user.
        (home / "keys").chmod(0o644)
        if os.geteuid() == 0:
            # sshd confines its children there before they become the user.
            Path("/run/sshd").mkdir(exist_ok=True)
        options = {
            "Port": far, "ListenAddress": "127.0.0.1", "HostKey": directory / "host", "PidFile": "none", "UsePAM": "no",
            "AuthorizedKeysFile": home / "keys", "StrictModes": "no", "PasswordAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
        }  # fmt: skip
        (directory / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
        with (directory / "ssh.log").open("w") as log:
            daemon = subprocess.Popen([SSHD, "-D", "-e", "-f", directory / "sshd_config"], stdout=log, stderr=log)
            command = [
                "ssh",
                "-N",
                "-F",
                "none",
                "-i",
                directory / "client",
                "-p",
                str(far),
                "-L",
                f"{near}:127.0.0.1:{to}",
            ]
            command += [f"-o{option}" for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "ExitOnForwardFailure=yes", "IdentityAgent=none")]  # fmt: skip
            assert wait_until(lambda: reached(far), PATIENCE), (directory / "ssh.log").read_text()
            client = subprocess.Popen([*command, f"{user}@127.0.0.1"], stdout=log, stderr=log)
            try:
                assert wait_until(lambda: reached(near) or client.poll() is not None, PATIENCE)
                assert client.poll() is None, (directory / "ssh.log").read_text()
                yield near
            finally:
                # Asked politely, ssh has been seen to wait for ever.
                client.kill()
                daemon.terminate()
                for process in (client, daemon):
                    process.wait(PATIENCE)
    finally:
        shutil.rmtree(home)


def reached(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10):
        return True
    return False


def test_one_s_own_tunnel_needs_nothing(server: Server, tmp_path: Path) -> None:
    with tunnel(tmp_path, getpass.getuser(), server.port) as near:
        assert (page_status(near)[0], stream_status(near)) == (200, 101)


def test_another_user_s_tunnel_is_asked_for_the_token(server: Server, tmp_path: Path, account: str) -> None:
    """Whoever opens the near end: the process behind it belongs to the user who logged in."""
    with tunnel(tmp_path, account, server.port) as near:
        assert (page_status(near)[0], stream_status(near)) == (401, 403)
        cookie = page_status(near, f"/?token={WORD}")[1]
        assert (page_status(near, "/", cookie)[0], stream_status(near, cookie)) == (200, 101)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def look(page: Page, url: str) -> None:
    """Open a page and wait until its script has run."""
    page.goto(url)
    page.wait_for_selector("[data-testid=stMainBlockContainer] h1")
    page.wait_for_selector("[data-test-script-state=notRunning]", state="attached")


@needs_chromium
def test_every_page_works_under_the_policy(server, workspace, exported_run, browser, tmp_path) -> None:
    """Charts, tabs, an upload, a download; and no image from another host is loaded."""
    foreign = "http://127.0.0.2:9/seen.png"
    own_recipe.save(workspace, "theirs", f"![]({foreign})", preset="internlm2_chat_1_8b_qlora_alpaca_e3", text="a = 1\n", base="a = 1\n")  # fmt: skip
    answer = {"answer": f"![x]({foreign})", "tokens": 3, "ttft_ms": 1.0, "tokens_per_s": 9.0, "finish": "stop"}
    talk = new_conversation(exported_run.id)
    talk.add(workspace, Exchange(question="你是谁", answers={"base": answer, "tuned": answer}))
    assert writeup.start(workspace, exported_run, "zh").wait(600) is Status.FINISHED
    report = next(exported_run.path.rglob("report.md"))
    report.write_text(f"{report.read_text()}\n\n![x]({foreign})\n<img src={foreign}>\n")

    context = browser.new_context(locale="zh-CN", viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfinished", lambda request: asked.append(request.url))
    for name in PAGES:
        look(page, f"{server.url}/{name}?run={exported_run.id}")
        for tab in page.get_by_role("tab").all():
            if tab.is_visible():
                tab.click()
                page.wait_for_timeout(300)
                page.wait_for_selector("[data-test-script-state=notRunning]", state="attached")
        if name == "train":
            page.wait_for_selector("[data-testid=stPlotlyChart] .main-svg")
        if name == "dataset":
            page.get_by_text(catalogue("zh")["dataset.new"]).click()
            rows = tmp_path / "rows.jsonl"
            rows.write_text('{"question": "问", "answer": "答"}\n')
            assert upload(page, rows).ok
        if name == "report":
            page.get_by_role("tab").first.click()
            with page.expect_download() as download:
                page.get_by_role("button", name="report.md").click()
            assert "seen.png" in Path(download.value.path()).read_text()
            # It is on the page but not loaded.
            page.wait_for_selector(f"img[src='{foreign}']", state="attached")
    context.close()
    refused = [text for text in said if "Content Security Policy" in text or "violates" in text]
    assert [text for text in refused if foreign not in text] == []
    assert refused, "the browser says what it did not load"
    assert not [url for url in asked if "seen.png" in url]


@needs_chromium
def test_no_other_page_frames_it(server: Server, browser: Browser) -> None:
    page = browser.new_page()
    decoy = f"<h1>decoy</h1><iframe src='{server.url}/config'></iframe>"
    page.route("http://decoy.example/", lambda route: route.fulfill(content_type="text/html", body=decoy))
    page.goto("http://decoy.example/")
    assert wait_until(lambda: page.wait_for_timeout(100) or page.frames[1].url.startswith("chrome-error:"), PATIENCE)
    page.close()


STREAM = """address => new Promise(done => {
    const stream = new WebSocket(address, "streamlit");
    stream.onopen = () => done("opened");
    stream.onerror = () => done("refused");
})"""
PICTURE = """address => new Promise(done => {
    const picture = new Image();
    picture.onload = () => done("shown");
    picture.onerror = () => done("refused");
    picture.src = address;
})"""


@needs_chromium
def test_pages_of_this_machine_at_other_ports_get_nothing(server: Server, browser: Browser) -> None:
    """The browser considers them the same site and sends cookies along: only the port differs."""
    page = browser.new_page()
    stream = f"{server.url.replace('http', 'ws')}/_stcore/stream"
    asked = ((STREAM, stream), (PICTURE, f"{server.url}/favicon.png"))
    page.route("http://127.0.0.1:9/", lambda route: route.fulfill(content_type="text/html", body="<h1>decoy</h1>"))
    page.goto("http://127.0.0.1:9/")
    assert [page.evaluate(script, address) for script, address in asked] == ["refused"] * 2
    page.goto(server.url)
    assert page.evaluate(STREAM, stream) == "opened"
    assert page.evaluate(PICTURE, f"{server.url}/favicon.png") == "shown"
    page.close()


@needs_chromium
@needs_root
def test_a_stranger_s_browser_types_the_token_once(
    server: Server, browser: Browser, account: str, tmp_path: Path
) -> None:
    """Through another user's tunnel; then returning by a link on another site, when a browser withholds cookies."""
    with tunnel(tmp_path, account, server.port) as near:
        context = browser.new_context(locale="zh-CN")
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{near}/train")
        assert "访问令牌" in page.inner_text("body")
        page.get_by_label("token").fill("not-the-word")
        page.get_by_role("button").click()
        assert "令牌不对" in page.inner_text("body")
        page.get_by_label("token").fill(WORD)
        page.get_by_role("button").click()
        page.wait_for_selector("[data-testid=stMainBlockContainer] h1")
        assert page.url == f"http://127.0.0.1:{near}/train"
        assert page.evaluate("document.cookie").find("xtuner_studio") < 0
        page.route("http://forum.example/", lambda route: route.fulfill(content_type="text/html", body=f"<a href='http://127.0.0.1:{near}/chat'>go</a>"))  # fmt: skip
        page.goto("http://forum.example/")
        page.get_by_text("go").click()
        page.wait_for_selector("[data-testid=stMainBlockContainer] h1")
        context.close()
