"""What a learner looks for is in the first screen, and the next step is the one blue button: the pages of a run in a real
browser, at 1440 and at 420 wide, from an empty workspace to a training that goes on, which is a fake.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from pages.components.text import catalogue
from tests.e2e.server import CHROMIUM, MINUTE, WITHOUT_CHROMIUM, Server, chromium

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)
WORDS = catalogue("zh")
HEIGHT = 900
WIDTHS = (1440, 420)
MAIN = "[data-testid=stMainBlockContainer]"
CHART, ANSWERS = ".js-plotly-plot", f"strong:text-is('{WORDS['answers.title']}')"


class Screens:
    """The pages of a run, as somebody sees them who goes from one to the other."""

    def __init__(self, tab: Page, url: str) -> None:
        self.tab, self.url = tab, url

    def look(self, page: str, blue: str, *seen: str, tops: dict[str, int] | None = None) -> None:
        """Open a page: its one blue button is called `blue` and lies in the first screen of both sizes, and so does what
        the selectors in `seen` find. `tops`: how far down it may begin on a phone, where less than all of it is in view.
        """
        self.tab.set_viewport_size({"width": WIDTHS[0], "height": HEIGHT})
        self.tab.goto(f"{self.url}/{page}")
        button = self.tab.locator(f"{MAIN} [data-testid=stBaseButton-primary]:visible")
        expect(button).to_have_text([blue], use_inner_text=False, timeout=MINUTE)
        for selector in seen:
            expect(self.tab.locator(selector).first).to_be_visible(timeout=MINUTE)
        expect(self.tab.locator("[data-test-script-state='notRunning']").first).to_be_attached(timeout=MINUTE)
        for width in WIDTHS:
            self.tab.set_viewport_size({"width": width, "height": HEIGHT})
            self.tab.wait_for_timeout(200)
            for selector in (f"{MAIN} [data-testid=stBaseButton-primary]:visible", *seen):
                box = self.tab.locator(selector).first.bounding_box()
                least = (tops or {}).get(selector) if width == WIDTHS[1] else None
                end = box["y"] + (least if least is not None else box["height"])
                assert end <= HEIGHT, (page, width, selector, box)
            wide = self.tab.evaluate("document.querySelector('[data-testid=stMain], body').scrollWidth")
            assert wide <= width, (page, width, "it scrolls sideways")


@pytest.fixture
def screens(workspace) -> Iterator[Screens]:
    server = Server({"XTUNER_STUDIO_HOME": str(workspace.root)})
    server.start()
    try:
        with chromium() as browser:
            yield Screens(browser.new_context(locale="zh-CN").new_page(), server.url)
    finally:
        server.kill()


def blue(key: str, icon: str, **values: str) -> str:
    """What a button says, with the name of its icon, which is a word to the browser."""
    return f"{icon}{WORDS[key].format(**values)}"


NEXT = "arrow_forward"
TO_TRAIN = blue("contents.go", NEXT, page=WORDS["train.title"])
START = blue("train.start", "play_arrow")


def test_with_nothing_with_a_config_and_while_it_trains(request, screens):
    there = request.getfixturevalue
    screens.look("train", blue("contents.go", NEXT, page=WORDS["config.title"]))
    for page in ("export", "chat", "report"):
        screens.look(page, TO_TRAIN)
    there("config")
    screens.look("train", START)

    # It is stopped at the end, however slow the machine.
    there("fake_engine")("slow", iters=20_000)
    there("running_run")
    # Of the chart a phone's first screen has the loss at least.
    screens.look("train", WORDS["train.to_export"], CHART, tops={CHART: 200})
    screens.tab.set_viewport_size({"width": WIDTHS[0], "height": HEIGHT})
    expect(screens.tab.locator(ANSWERS).first).to_be_visible(timeout=MINUTE)
    assert screens.tab.locator(ANSWERS).first.bounding_box()["y"] < HEIGHT - 200
