"""A training that is watched in a real browser: the chart is saved without a network, and a zoom stays when it is held."""

import csv

from playwright.sync_api import Page, expect, sync_playwright

from core.jobs.job import wait_until
from tests.e2e.test_journey import CHROMIUM, MINUTE, WORDS, Server, is_foreign

RANGE = "Array.from(document.querySelector('.js-plotly-plot')._fullLayout.xaxis.range)"
HEIGHT = "document.querySelector('[data-testid=stMain]').scrollHeight"


def saved(tab: Page, click) -> tuple[str, bytes]:
    """The name and the content of what a click downloads."""
    with tab.expect_download(timeout=MINUTE) as download:
        click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_a_live_chart(workspace, running_run):
    server = Server(workspace)
    server.start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            tab = browser.new_context(viewport={"width": 1440, "height": 900}, locale="zh-CN").new_page()
            foreign: list[str] = []
            tab.on("request", lambda request: foreign.append(request.url) if is_foreign(request.url) else None)
            tab.goto(f"{server.url}/train")
            chart = tab.get_by_test_id("stPlotlyChart").first
            expect(chart.locator(".main-svg").first).to_be_visible(timeout=MINUTE)
            buttons = chart.locator(".modebar-btn")
            assert WORDS["charts.png"] in [button.get_attribute("data-title") for button in buttons.all()]
            name, picture = saved(tab, buttons.first.click)
            assert name == f"{running_run.id}-curves.png"
            assert picture.startswith(b"\x89PNG")
            name, table = saved(tab, tab.get_by_text(WORDS["charts.csv"]).first.click)
            assert name == f"{running_run.id}-curves.csv"
            rows = list(csv.DictReader(table.decode("utf-8-sig").splitlines()))
            assert float(rows[0][WORDS["curves.loss"]]) == 2.1
            height = tab.evaluate(HEIGHT)
            tab.get_by_text(WORDS["curves.live"], exact=True).click()
            expect(tab.get_by_text(WORDS["curves.held"].split("{")[0])).to_be_visible(timeout=MINUTE)
            box = chart.bounding_box()
            tab.mouse.move(box["x"] + 300, box["y"] + 150)
            tab.mouse.down()
            tab.mouse.move(box["x"] + 500, box["y"] + 200, steps=5)
            tab.mouse.up()
            assert wait_until(lambda: tab.evaluate(RANGE)[0] > 1, 10)
            zoomed = tab.evaluate(RANGE)
            held = tab.get_by_text(WORDS["curves.held"].split("{")[0])
            said = held.inner_text()
            assert wait_until(lambda: held.inner_text() != said, 30)
            assert tab.evaluate(RANGE) == zoomed
            tab.get_by_text(WORDS["curves.live"], exact=True).click()
            expect(held).to_be_hidden(timeout=MINUTE)
            assert abs(tab.evaluate(HEIGHT) - height) <= 2
            assert tab.get_by_test_id("stException").count() == 0
            assert foreign == []
            browser.close()
    finally:
        server.kill()
