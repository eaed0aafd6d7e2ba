"""A learner's journey in a real browser: the demo at one click, a closed tab, a killed server, the chat, the report."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from playwright.sync_api import Browser, Page, expect

from core.ground.workspace import Workspace
from core.jobs.job import wait_until
from pages.components.text import catalogue
from tests.e2e.conftest import Demo, command
from tests.e2e.server import CHROMIUM, MINUTE, WITHOUT_CHROMIUM, Server, chromium, is_foreign
from tests.fakes.tunnel import Tunnel, dug

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)
NICKNAME = "小红"
WORDS = catalogue("zh")


@pytest.fixture(scope="module")
def server(demo: Demo) -> Iterator[Server]:
    served = Server({"XTUNER_STUDIO_HOME": str(demo.workspace.root)})
    served.start()
    yield served
    served.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


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
    fresh = Server({"XTUNER_STUDIO_HOME": str(demo.workspace.root)})
    fresh.start()
    try:
        tab.goto(f"{fresh.url}/train")
        menu = tab.get_by_test_id("stSidebarNav")
        expect(menu.get_by_text(WORDS["dataset.title"])).to_be_visible(timeout=MINUTE)
        expect(tab.get_by_test_id("stPlotlyChart").first).to_be_visible(timeout=MINUTE)
    finally:
        fresh.kill()


def test_every_page_is_usable_through_a_slow_tunnel(server: Server, tab: Page) -> None:
    """100 ms there and back, 4 Mbit/s, and a browser that was never here: as through SSH to a rented machine."""
    with dug(Tunnel(server.port)) as tunnel:
        tab.goto(f"{tunnel.url}/train")
        expect(tab.get_by_test_id("stPlotlyChart").first).to_be_visible(timeout=MINUTE)
        tab.wait_for_timeout(500)
        assert tunnel.bytes["down"] <= 2_600_000
        for page in ("dataset", "config", "export", "chat", "report", "setup"):
            tab.get_by_test_id("stSidebarNav").get_by_text(WORDS[f"{page}.title"], exact=True).click()
            expect(tab.get_by_role("heading", name=WORDS[f"{page}.title"]).first).to_be_visible(timeout=MINUTE)
            expect(tab.locator("[data-test-script-state='notRunning']").first).to_be_attached(timeout=MINUTE)
            expect(tab.locator("[data-test-connection-state='CONNECTED']").first).to_be_attached(timeout=MINUTE)
        tab.get_by_text("English", exact=True).click()
        expect(tab.get_by_role("heading", name=catalogue("en")["setup.title"]).first).to_be_visible(timeout=MINUTE)


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("page", ["", "dataset", "config", "train", "export", "chat", "report"])
def test_every_page_draws(server: Server, tab: Page, page: str, language: str) -> None:
    tab.goto(f"{server.url}/{page}?lang={language}")
    title = catalogue(language)[f"{page or 'setup'}.title"]
    expect(tab.get_by_role("heading", name=title).first).to_be_visible(timeout=MINUTE)
    expect(tab.locator("[data-test-script-state='notRunning']").first).to_be_attached(timeout=MINUTE)


@pytest.mark.parametrize(("language", "pictured"), [("zh", True), ("en", False)])
def test_a_report_is_built_and_downloaded(
    server: Server, tab: Page, browser: Browser, tmp_path: Path, language: str, pictured: bool
) -> None:
    words = catalogue(language)
    tab.goto(f"{server.url}/report?lang={language}")
    button = words["report.build_pictured" if pictured else "report.build"]
    tab.get_by_role("button", name=button, exact=True).click()
    expect(tab.get_by_test_id("stProgress").first).to_be_visible(timeout=MINUTE)
    expect(tab.get_by_test_id("stProgress")).to_have_count(0, timeout=4 * MINUTE)
    archive = tab.get_by_role("button", name=words["report.archive"])
    expect(archive).to_be_visible(timeout=MINUTE)
    with tab.expect_download() as download:
        archive.click()
    download.value.save_as(tmp_path / "report.zip")
    with zipfile.ZipFile(tmp_path / "report.zip") as packed:
        packed.extractall(tmp_path / "report")
    check_links(tmp_path / "report")
    heading = {"zh": "看着它学", "en": "Watching it learn"}[language]
    assert f"## {heading}" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    if pictured:
        assert len(list((tmp_path / "report").glob("screen-*.png"))) == 6
    opened = browser.new_context(offline=True)
    asked: list[str] = []
    page = opened.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "report" / "report.html").as_uri())
    expect(page.get_by_role("heading", name=re.compile(heading))).to_be_visible()
    broken = page.evaluate("[...document.images].filter(image => !image.naturalWidth).length")
    opened.close()
    assert broken == 0
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert sum(url.startswith("file:") for url in asked) == 1


def check_links(report: Path) -> None:
    """Everything that the Markdown refers to lies beside it."""
    text = (report / "report.md").read_text(encoding="utf-8")
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    links = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert links
    assert [link for link in links if not link.startswith("https://") and not (report / link).is_file()] == []
