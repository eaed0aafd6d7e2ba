"""A learner's journey in a real browser: the demo at one click, a closed tab, a killed server, the chat, the report."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from core.ground.workspace import PROJECT, Workspace
from core.jobs.job import wait_until
from pages.components.text import catalogue
from tests.e2e.conftest import Demo, command

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="the browser journey needs Chromium and a Chinese font: apt-get install chromium fonts-noto-cjk",
)
NICKNAME = "小红"
WORDS = catalogue("zh")
MINUTE = 60_000


class Server:
    """The app as `make run` serves it, on a free port; can be killed and started again."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port)],
            cwd=PROJECT,
            env={**os.environ, "XTUNER_STUDIO_HOME": str(self.workspace.root)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert wait_until(self.healthy, 60)

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def server(demo: Demo) -> Iterator[Server]:
    served = Server(demo.workspace)
    served.start()
    yield served
    served.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab that fails the test for a traceback, an error in the console or a request to another host."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="zh-CN")
    page = context.new_page()
    wrong: list[str] = []
    page.on("request", lambda request: wrong.append(request.url) if is_foreign(request.url) else None)
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    yield page
    exceptions = page.get_by_test_id("stException").count()
    context.close()
    # A server that was killed on purpose is missed, and said so.
    wrong = [text for text in wrong if not re.search(r"WebSocket|ERR_CONNECTION|_stcore|Failed to load resource", text)]
    assert not wrong
    assert exceptions == 0


def is_foreign(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:"))


def state(workspace: Workspace) -> dict[str, object]:
    return json.loads(command(workspace, "train", "status", "latest", "--json").stdout)


def test_the_whole_demo_survives_the_tab_and_the_server(server: Server, tab: Page, demo: Demo) -> None:
    before = state(demo.workspace)["run"]
    tab.goto(server.url)
    tab.locator(".st-key-demo_nickname input").fill(NICKNAME)
    tab.locator(".st-key-demo_nickname input").press("Tab")
    tab.get_by_role("button", name=WORDS["demo.run"]).click()
    expect(tab.get_by_text(NICKNAME).first).to_be_visible(timeout=MINUTE)
    expect(tab.get_by_test_id("stProgress").first).to_be_visible(timeout=MINUTE)
    assert wait_until(lambda: state(demo.workspace)["run"] != before, 60)
    assert wait_until(lambda: state(demo.workspace)["iter"] > 0, 120)
    tab.goto("about:blank")
    server.kill()
    seen = state(demo.workspace)
    assert seen["status"] == "RUNNING"
    assert wait_until(lambda: state(demo.workspace)["iter"] > seen["iter"], 60)
    server.start()
    tab.goto(server.url)
    expect(tab.get_by_test_id("stProgress").first).to_be_visible(timeout=MINUTE)
    finished = WORDS["demo.finished"].split("{")[0]
    expect(tab.get_by_text(finished).first).to_be_visible(timeout=6 * MINUTE)
    table = tab.get_by_test_id("stTable").first
    expect(table).to_contain_text(f"我是{NICKNAME}的小助手")
    expect(table).to_contain_text("我是书生·浦语")


def test_the_train_page_finds_the_run_again(server: Server, tab: Page) -> None:
    tab.goto(f"{server.url}/train")
    expect(tab.get_by_test_id("stPlotlyChart").first).to_be_visible(timeout=MINUTE)
    expect(tab.get_by_text(WORDS["train.status.FINISHED"]).first).to_be_visible(timeout=MINUTE)


def test_both_sides_answer_in_the_chat(server: Server, tab: Page) -> None:
    tab.goto(f"{server.url}/chat")
    tab.get_by_role("button", name=WORDS["chat.load"]).click()
    box = tab.get_by_test_id("stChatInputTextArea")
    expect(box).to_be_enabled(timeout=3 * MINUTE)
    box.fill("你是谁的小助手？")
    box.press("Enter")
    expect(tab.get_by_text(f"我是{NICKNAME}的小助手").first).to_be_visible(timeout=2 * MINUTE)
    expect(tab.get_by_text("书生·浦语").first).to_be_visible(timeout=MINUTE)


def test_a_direct_address_after_a_start(tab: Page, demo: Demo) -> None:
    fresh = Server(demo.workspace)
    fresh.start()
    try:
        tab.goto(f"{fresh.url}/train")
        menu = tab.get_by_test_id("stSidebarNav")
        expect(menu.get_by_text(WORDS["dataset.title"])).to_be_visible(timeout=MINUTE)
        expect(tab.get_by_test_id("stPlotlyChart").first).to_be_visible(timeout=MINUTE)
    finally:
        fresh.kill()


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("page", ["", "dataset", "config", "train", "export", "chat", "report"])
def test_every_page_draws(server: Server, tab: Page, page: str, language: str) -> None:
    tab.goto(f"{server.url}/{page}?lang={language}")
    title = catalogue(language)[f"{page or 'setup'}.title"]
    expect(tab.get_by_role("heading", name=title).first).to_be_visible(timeout=MINUTE)
    expect(tab.locator("[data-test-script-state='notRunning']").first).to_be_attached(timeout=MINUTE)
