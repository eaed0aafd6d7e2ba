"""Walks through all pages at every stage of the assignment, in a real browser, 1440 and 420 pixels wide.

What a learner looks for must be on the first screen, and so must the next step, the only blue button; nothing scrolls
sideways, and nothing moves while a page opens. The training is fake and the workspace grows under one server; if a page changes its mind about the next step,
the table of its stage says so.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page

from core.engine import checkup, interpreter
from core.ground.files import write_json
from core.ground.workspace import Workspace
from core.jobs.job import Status, wait_until
from core.report import writeup
from core.training import run as runs
from pages.components.text import catalogue
from tests.conftest import PATIENCE, ended
from tests.e2e.keyboard import tour
from tests.e2e.server import CHROMIUM, WITHOUT_CHROMIUM, Server, chromium
from tests.e2e.stillness import moved

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)
WORDS = catalogue("zh")
PAGES = ("setup", "dataset", "config", "train", "export", "chat", "report")
HEIGHT = 900
WIDE, NARROW = 1440, 420
SECONDS = 120.0
# The layout shift of a first load, as the browser counts it; from 0.1 on it is said to disturb.
MOST_MOVED = 0.01
CARD, VERDICT, MADE = ".st-key-outcome", ".st-key-verdict", ".st-key-made"
CHART, ASK = ".js-plotly-plot", "[data-testid=stChatInput]"
# A bold heading, by its text.
ANSWERS = f"strong={WORDS['answers.title']}"
# A chart may be cut off at the end of a phone's screen: this many pixels of the loss must be on it.
LEAST = {CHART: 200}
# Measures the main part: text and lower end of each blue button, the lower end of each element looked for, the width.
LOOK = """
([things, least]) => {
    const main = document.querySelector('[data-testid=stMainBlockContainer]');
    const end = (node, least) => { const box = node.getBoundingClientRect(); return box.top + Math.min(box.height, least ?? 1e9) };
    const words = node => [...node.querySelectorAll('p')].map(part => part.innerText.trim()).join(' ');
    const blue = [...main.querySelectorAll('[data-testid^=stBaseButton-primary]')].filter(node => node.checkVisibility());
    const every = thing => thing.startsWith('strong=')
        ? [...main.querySelectorAll('strong')].filter(node => node.innerText.trim() === thing.slice(7))
        : document.querySelectorAll(thing);
    const seen = ([one]) => one && one.checkVisibility() ? one : null;
    return {
        title: main.querySelector('h1')?.innerText.trim(),
        above: main.querySelector('h1')?.getBoundingClientRect().top < 0,
        quiet: !!document.querySelector('[data-test-script-state=notRunning]'),
        blue: blue.map(node => [words(node), end(node)]),
        things: things.map(thing => { const node = seen(every(thing)); return node && end(node, least[thing]) }),
        wide: (document.querySelector('[data-testid=stMain]') ?? document.body).scrollWidth,
    };
}
"""

# Texts of a chart's legend that begin before the one before them ends.
CROWDED = """
() => {
    const names = [...document.querySelectorAll('.legend .legendtext')].map(node => [node.textContent, node.getBoundingClientRect()]);
    return names.flatMap(([name, box]) => names.filter(([, other]) =>
        other !== box && other.top === box.top && other.left >= box.left && other.left < box.right).map(([other]) => [name, other]));
}
"""


@dataclass
class Walk:
    """A user who goes from page to page by the menu, and what they find wrong."""

    tab: Page
    url: str
    # The text of each page's blue button, and what must be in view with it; each stage changes some of them.
    blue: dict[str, str] = field(default_factory=dict)
    things: dict[str, tuple[str, ...]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def come(self) -> None:
        """Open the first page, as in a new tab."""
        self.tab.goto(self.url)
        self.tab.wait_for_selector("[data-test-script-state=notRunning]", state="attached")

    def through(self, stage: str, blue: Mapping[str, str], things: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """Visit all pages at one stage."""
        self.blue |= blue
        self.things |= things or {}
        for page in PAGES:
            self.tab.set_viewport_size({"width": WIDE, "height": HEIGHT})
            link = self.tab.get_by_test_id("stSidebarNavLink").nth(PAGES.index(page))
            link.click()
            for width in (WIDE, NARROW):
                self.tab.set_viewport_size({"width": width, "height": HEIGHT})
                found: list[str] = []
                if not wait_until(partial(self._right, page, width, found), SECONDS):
                    self.wrong += [f"{stage}, {page}, {width}: {problem}" for problem in found]

    def opens_still(self, stage: str, *pages: str) -> None:
        """Open pages in new browsers: nothing moves while its code, its sidebar and its texts arrive."""
        for page in pages:
            for width in (WIDE, NARROW):
                shift, what = moved(self.tab.context.browser, self._address(page), width)
                if shift > MOST_MOVED:
                    self.wrong.append(f"{stage}, {page}, {width}: moves by {shift:.3f} as it opens: {what}")

    def _address(self, page: str) -> str:
        return f"{self.url}/{page if page != PAGES[0] else ''}"

    def by_keyboard(self) -> None:
        """Visit all controls of all pages by Tab: each is reached, in the order of the page, has a name and shows the focus."""
        self.tab.set_viewport_size({"width": WIDE, "height": HEIGHT})
        for page in PAGES:
            self.tab.goto(self._address(page))
            counts = [-1]
            assert wait_until(partial(self._still, page, counts), SECONDS), page
            self.wrong += [f"{page}: {one} is written over {other}" for one, other in self.tab.evaluate(CROWDED)]
            self.wrong += [f"{page}, by keyboard: {problem}" for problem in tour(self.tab)]

    def _still(self, page: str, counts: list[int]) -> bool:
        """Return whether a page is drawn to its end: nothing was added since the last look."""
        self.tab.wait_for_timeout(300)
        look = self.tab.evaluate(LOOK, [[], {}])
        counts.append(self.tab.evaluate("document.querySelectorAll('#root *').length"))
        drawn = look["title"] == WORDS[f"{page}.title"] and look["quiet"]
        return drawn and counts[-1] == counts[-2] and not self.tab.get_by_test_id("stSkeleton").count()

    def _right(self, page: str, width: int, found: list[str]) -> bool:
        """Return whether a page is as expected; add what is wrong to `found`."""
        least = LEAST if width == NARROW else {}
        # On a wide screen there is room for text; on a phone, columns are stacked.
        things = [thing for thing in self.things.get(page, ()) if width == WIDE or thing not in (ANSWERS,)]
        self.tab.wait_for_timeout(100)
        look: dict[str, Any] = self.tab.evaluate(LOOK, [things, least])
        found.clear()
        if look["title"] != WORDS[f"{page}.title"] or not look["quiet"]:
            found.append(f"the page is not there: {look['title']}")
        if [words for words, _ in look["blue"]] != [self.blue[page]]:
            found.append(f"blue is {look['blue']} and should be {self.blue[page]}")
        ends = [*((words, end) for words, end in look["blue"]), *zip(things, look["things"], strict=True)]
        found += [f"{thing} ends at {end}" for thing, end in ends if end is None or end > HEIGHT]
        if look["above"]:
            found.append("its title is above the screen")
        if look["wide"] > width:
            found.append("it scrolls sideways")
        return not found


@contextmanager
def walking(workspace: Workspace) -> Iterator[Walk]:
    """A browser with its own server."""
    server = Server({"XTUNER_STUDIO_HOME": str(workspace.root)})
    server.start()
    try:
        with chromium() as browser:
            tab = browser.new_context(locale="zh-CN", viewport={"width": WIDE, "height": HEIGHT}).new_page()
            walk = Walk(tab, server.url)
            walk.come()
            yield walk
            assert tab.get_by_test_id("stException").count() == 0
    finally:
        server.kill()


def to(page: str) -> str:
    """Return the text of the button that leads to a page."""
    return WORDS["contents.go"].format(page=WORDS[f"{page}.title"])


def check_the_engine(workspace: Workspace) -> None:
    """As after the thorough check, which takes half a minute."""
    engine = interpreter.in_use(workspace)
    found = checkup.Checkup(time=1.0, loads=[], cuda={"devices": []}, xtuner_version="", xtuner_help="")
    write_json(checkup._file(workspace, engine.python), {**asdict(found), "stamp": engine.stamp})


def test_every_page_at_every_stage(request, workspace, fake_engine: Callable[..., None]) -> None:
    there = request.getfixturevalue
    with walking(workspace) as walk:
        walk.through(
            "empty",
            {
                "setup": WORDS["demo.run"],
                "dataset": WORDS["dataset.make"],
                "config": to("setup"),
                "train": to("config"),
                **dict.fromkeys(("export", "chat", "report"), to("train")),
            },
            {
                "setup": (".st-key-demo_nickname input",),
                "dataset": (".st-key-dataset_nickname input",),
                **dict.fromkeys(("config", "train", "export", "chat", "report"), (CARD,)),
            },
        )
        walk.opens_still("empty", "setup", "dataset")
        there("small_model")
        check_the_engine(workspace)
        walk.through("model", {"setup": to("dataset"), "config": to("dataset")}, {"setup": ()})

        there("dataset")
        walk.through(
            "dataset",
            {"setup": to("config"), "dataset": WORDS["dataset.to_config"], "config": WORDS["config.make"]},
            {"dataset": (CARD,), "config": ()},
        )
        config = there("config")
        walk.through(
            "config",
            {"setup": to("train"), "config": WORDS["config.to_train"], "train": WORDS["train.start"]},
            {"config": (VERDICT,), "train": ()},
        )
        # It is stopped below, however slow the machine is.
        fake_engine("slow", iters=20_000)
        run = runs.start(workspace, config.name)
        assert wait_until(lambda: len(run.metrics().read()) >= 6, PATIENCE), run.job.log_tail()
        walk.through(
            "running",
            {
                "setup": WORDS["demo.watch"],
                "train": WORDS["train.to_export"],
                **dict.fromkeys(("export", "chat", "report"), to("train")),
            },
            {"train": (CHART, ANSWERS)},
        )
        run.stop()
        assert ended(run.job) is Status.KILLED, run.job.log_tail()
        made = {
            "setup": to("train"),
            "export": WORDS["export.all"],
            "chat": WORDS["chat.to_score"],
            "report": WORDS["report.build_pictured"],
        }
        walk.through(
            "stopped",
            {"train": WORDS["monitor.resume"], **made},
            {"export": (), "chat": (ASK,), "report": ()},
        )
        fake_engine("ok", iters=12)
        there("finished_run")
        # A returning user; a tab that stays open keeps the run that it shows.
        walk.come()
        walk.through("finished", {"setup": to("export"), "train": WORDS["train.to_export"]}, {"train": (CARD, CHART)})

        run = there("exported_run")
        kept = workspace.root / "scored"
        kept.mkdir()
        for part in ("scores.json", "scores"):
            (run.path / part).rename(kept / part)
        walk.through(
            "exported",
            {"setup": to("chat"), "train": WORDS["train.to_chat"], "export": WORDS["export.to_chat"]},
            {"export": (MADE,)},
        )
        for part in kept.iterdir():
            part.rename(run.path / part.name)
        walk.through(
            "scored",
            {
                "setup": to("report"),
                "train": WORDS["train.to_report"],
                "export": WORDS["train.to_report"],
                "chat": WORDS["chat.to_report"],
            },
            {"chat": (CARD, ASK)},
        )
        assert writeup.start(workspace, run, "zh").wait(600) is Status.FINISHED
        walk.through(
            "report",
            {**dict.fromkeys(("setup", "train", "export", "chat"), to("report")), "report": WORDS["report.archive"]},
        )
        walk.opens_still("report", "setup", "train", "chat")
        walk.by_keyboard()
    assert not walk.wrong, "\n".join(walk.wrong)
