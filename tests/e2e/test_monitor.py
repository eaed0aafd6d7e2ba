"""Watching a run in a real browser: the chart can be saved without a network, and a zoom is kept while it is paused."""

import csv

import pytest
from playwright.sync_api import Page, expect

from core.jobs.job import wait_until
from pages.components.text import catalogue
from tests.conftest import PATIENCE
from tests.e2e.server import CHROMIUM, WITHOUT_CHROMIUM, Server, chromium, is_foreign

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)
WORDS = catalogue("zh")
RANGE = "Array.from(document.querySelector('.js-plotly-plot')._fullLayout.xaxis.range)"
HEIGHT = "document.querySelector('[data-testid=stMain]').scrollHeight"


def saved(tab: Page, click) -> tuple[str, bytes]:
    """Return the name and content of what a click downloads."""
    with tab.expect_download() as download:
        click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_a_live_chart(workspace, running_run):
    server = Server({"XTUNER_STUDIO_HOME": str(workspace.root)})
    server.start()
    try:
        with chromium() as browser:
            tab = browser.new_context(viewport={"width": 1440, "height": 900}, locale="zh-CN").new_page()
            foreign: list[str] = []
            tab.on("request", lambda request: foreign.append(request.url) if is_foreign(request.url) else None)
            tab.goto(f"{server.url}/train")
            chart = tab.get_by_test_id("stPlotlyChart").first
            expect(chart.locator(".main-svg").first).to_be_visible()
            # The page grows with the first few evaluations.
            expect(tab.get_by_text(WORDS["answers.all"].split("{")[0])).to_be_visible()
            height = tab.evaluate(HEIGHT)
            tab.get_by_text(WORDS["curves.live"], exact=True).click()
            held = tab.get_by_text(WORDS["curves.held"].split("{")[0])
            expect(held).to_be_visible()
            button = chart.locator(f".modebar-btn[data-title='{WORDS['charts.png']}']")
            expect(button).to_be_visible()
            name, picture = saved(tab, button.click)
            assert name == f"{running_run.id}-curves.png"
            assert picture.startswith(b"\x89PNG")
            name, table = saved(tab, tab.get_by_text(WORDS["charts.csv"]).first.click)
            assert name == f"{running_run.id}-curves.csv"
            rows = list(csv.DictReader(table.decode("utf-8-sig").splitlines()))
            assert float(rows[0][WORDS["curves.loss"]]) == 2.1
            button.hover()
            box = chart.bounding_box()
            tab.mouse.move(box["x"] + 300, box["y"] + 150)
            tab.mouse.down()
            tab.mouse.move(box["x"] + 500, box["y"] + 200, steps=5)
            tab.mouse.up()
            assert wait_until(lambda: tab.evaluate(RANGE)[0] > 1, PATIENCE)
            zoomed = tab.evaluate(RANGE)
            said = held.inner_text()
            assert wait_until(lambda: held.inner_text() != said, PATIENCE)
            assert tab.evaluate(RANGE) == zoomed
            tab.get_by_text(WORDS["curves.live"], exact=True).click()
            expect(held).to_be_hidden()
            assert abs(tab.evaluate(HEIGHT) - height) <= 2
            assert tab.get_by_test_id("stException").count() == 0
            assert foreign == []
    finally:
        server.kill()
