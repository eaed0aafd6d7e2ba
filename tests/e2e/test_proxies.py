"""The app behind a real nginx on loopback, configured as in docs/setup.md: another host name, and a path."""

import getpass
import http.client
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from core.ground.workspace import PROJECT, Workspace
from core.jobs.job import wait_until
from pages.components.text import catalogue
from tests.conftest import PATIENCE
from tests.e2e.server import CHROMIUM, WITHOUT_CHROMIUM, Server, chromium, upload
from tests.ports import free_port

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
NAME, STRANGE = "studio.example.org", "elsewhere.example.org"
WORDS = catalogue("zh")
# Larger than nginx accepts by default, and than stays in memory.
BYTES = 5 << 20

pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx: apt-get install nginx-light")


def as_documented() -> str:
    """Return the server block of docs/setup.md."""
    return re.search(r"```nginx\n(.*?)```", (PROJECT / "docs" / "setup.md").read_text(encoding="utf-8"), re.DOTALL)[1]


@contextmanager
def nginx(directory: Path, *servers: str, user: str = "") -> Iterator[None]:
    """Run nginx with these server blocks during the block; its workers belong to `user`, by default to the caller."""
    kept = "".join(f"{what}_temp_path {directory}/{what}; " for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))  # fmt: skip
    whose = f"user {user or getpass.getuser()};" if os.geteuid() == 0 else ""
    text = f"{whose} worker_processes 1; pid {directory}/pid; error_log {directory}/errors; events {{}}\nhttp {{ access_log off; {kept}\n{''.join(servers)} }}"  # fmt: skip
    (directory / "nginx.conf").write_text(text)
    started = subprocess.Popen([NGINX, "-p", directory, "-c", directory / "nginx.conf", "-g", "daemon off;"])
    try:
        assert wait_until(lambda: (directory / "pid").exists() or started.poll() is not None, PATIENCE)
        assert started.poll() is None, (directory / "errors").read_text()
        yield
    finally:
        started.terminate()
        started.wait(PATIENCE)


def asked(port: int, path: str, name: str) -> tuple[int, str | None, bytes]:
    """Return status, compression and content of a response, as requested by a browser at `name`."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("GET", path, headers={"Host": f"{name}:{port}", "Accept-Encoding": "br"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Encoding"), answer.read()


def stream(port: int, path: str, name: str) -> int:
    """Return the status of the WebSocket handshake from a page at `name`."""
    address = f"{name}:{port}"
    with socket.create_connection(("127.0.0.1", port)) as line:
        try:
            with connect(f"ws://{address}{path}_stcore/stream", sock=line, origin=f"http://{address}", subprotocols=["streamlit"]):  # fmt: skip
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code


@pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)
def test_another_name_and_a_path_of_its_own(workspace: Workspace, tmp_path: Path) -> None:
    app = Server({"XTUNER_STUDIO_HOME": str(workspace.root), "XTUNER_STUDIO_PROXY": NAME}, base="/studio")
    app.start()
    near, bare = free_port(), free_port()
    documented = as_documented().replace("listen 80;", f"listen 127.0.0.1:{near};").replace("8501", str(app.port))
    without_upgrade = re.sub(r"listen .*?;", f"listen 127.0.0.1:{bare};", re.sub(r".*(?:Upgrade|Connection) .*\n", "", documented))  # fmt: skip
    (tmp_path / "nginx").mkdir()
    try:
        with nginx(tmp_path / "nginx", documented, without_upgrade):
            assert asked(near, "/studio/", NAME)[0] == 200
            assert stream(near, "/studio/", NAME) == 101
            status, _, words = asked(near, "/studio/", STRANGE)
            assert (status, f"make run PROXY={STRANGE}" in words.decode()) == (403, True)
            assert stream(near, "/studio/", STRANGE) == 403
            assert stream(bare, "/studio/", NAME) != 101
            with chromium(f"--host-resolver-rules=MAP {NAME} 127.0.0.1") as browser:
                tab = browser.new_context(locale="zh-CN").new_page()
                foreign: list[str] = []
                tab.on("request", lambda request: foreign.append(request.url) if f"{NAME}:{near}/studio/" not in request.url and not request.url.startswith(("data:", "blob:")) else None)  # fmt: skip
                with tab.expect_response(lambda answer: answer.url.endswith(".js")) as script:
                    tab.goto(f"http://{NAME}:{near}/studio/config")
                expect(tab.get_by_role("heading", name=WORDS["config.title"])).to_be_visible()
                assert asked(near, urlsplit(script.value.url).path, NAME)[:2] == (200, "br")
                tab.get_by_test_id("stSidebarNav").get_by_text(WORDS["dataset.title"]).click()
                expect(tab.get_by_role("heading", name=WORDS["dataset.title"])).to_be_visible()
                assert tab.url == f"http://{NAME}:{near}/studio/dataset"
                tab.get_by_role("tab", name=WORDS["dataset.tab_import"]).click()
                rows = tmp_path / "rows.jsonl"
                rows.write_text('{"question": "问", "answer": "' + "答" * (BYTES // 3) + '"}\n')
                assert upload(tab, rows).ok
                assert foreign == []
    finally:
        app.kill()
