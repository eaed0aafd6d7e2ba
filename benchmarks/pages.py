"""The pages: start-up time of the app, server time per page, layout shift, cost of an open tab, bytes through a tunnel.

    BENCHMARK_WORKSPACE=DIR python -m benchmarks.pages      DIR: a workspace with a finished run, as `demo` leaves one

Takes about four minutes on 2 quiet cores, `--local` two: without idle tab, bytes and tunnel. Without a workspace, a run of the fake trainer is used. Needs Chromium.
Compressed scripts are timed against Streamlit's own, through a tunnel of 100 ms and 4 Mbit/s.
"""

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, Page

from benchmarks.measure import WORKSPACE, interleaved, say, seconds, spread, write
from tests.e2e.server import MINUTE, Server, chromium
from tests.e2e.stillness import moved
from tests.fakes.tunnel import Tunnel, dug
from tests.pages.screen import NUMBERS, open_page

IDLE_SECONDS = 20.0
WIDTHS = (1440, 420)
CHART = "[data-testid=stPlotlyChart] .main-svg"
TITLE = "[data-testid=stMainBlockContainer] h1"


def start_of_the_app(workspace: Path) -> dict[str, float]:
    """Return the seconds from the command until the server responds."""
    times = []
    for _ in range(3):
        with served(workspace) as (_, took):
            times.append(took)
    return spread(times)


@contextmanager
def served(workspace: Path) -> Iterator[tuple[Server, float]]:
    """Run the app during the block; yields the server and its start-up time."""
    server = Server({"XTUNER_STUDIO_HOME": str(workspace)})
    took = seconds(server.start)
    try:
        yield server, took
    finally:
        server.kill()


def server_time(workspace: Path) -> dict[str, dict[str, float]]:
    """Return the milliseconds of each page's script in a warm process, as when switching pages."""
    os.environ["XTUNER_STUDIO_HOME"] = str(workspace)
    found = {}
    for name, number in NUMBERS.items():
        app = open_page(name)
        gc.collect()
        gc.freeze()
        times = [
            1000 * seconds(lambda app=app, n=number, p=name: app.switch_page(f"pages/{n}_{p}.py").run())
            for _ in range(7)
        ]
        found[name] = spread(times)
    return found


def first_page(browser: Browser, url: str) -> dict[str, float]:
    """Return the seconds until a warm server shows the first page's title, to a new and to a returning browser."""
    context = browser.new_context()
    tab = context.new_page()
    cold = seconds(lambda: shown(tab, url, TITLE))
    again = [seconds(lambda: shown(tab, url, TITLE)) for _ in range(5)]
    context.close()
    return {"new_browser": cold, "again": statistics.median(again)}


def shown(tab: Page, url: str, what: str) -> None:
    tab.goto(url)
    tab.wait_for_selector(what, timeout=3 * MINUTE)


def switches(browser: Browser, url: str) -> dict[str, float]:
    """Return the seconds from a click in the menu to the end of the page's script, including the browser."""
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    shown(tab, url, TITLE)
    times = []
    for _ in range(2):
        for link in tab.get_by_test_id("stSidebarNavLink").all():
            link_text = link.inner_text().strip().splitlines()[-1]

            def switch(link: Any = link, title: str = link_text) -> None:
                link.click()
                tab.wait_for_function(
                    "t => document.querySelector('h1')?.innerText.trim() === t", arg=title, timeout=MINUTE
                )
                tab.wait_for_selector("[data-test-script-state=notRunning]", state="attached", timeout=MINUTE)

            times.append(seconds(switch))
    tab.close()
    return spread(times)


def shift(browser: Browser, url: str) -> dict[str, dict[str, float]]:
    """Return by page how much moves while it opens in a new browser, wide and narrow: the sum of all layout shifts."""
    return {
        name: {f"{width}_px": moved(browser, f"{url}/{name if number > 1 else ''}", width)[0] for width in WIDTHS}
        for name, number in NUMBERS.items()
    }


def idle(browser: Browser, server: Server) -> float:
    """Return the percentage of one core that the server takes with one idle tab."""
    tab = browser.new_page()
    shown(tab, f"{server.url}/train", CHART)
    process = psutil.Process(server.process.pid)
    time.sleep(3)
    before = sum(process.cpu_times()[:2])
    time.sleep(IDLE_SECONDS)
    used = sum(process.cpu_times()[:2]) - before
    tab.close()
    return 100 * used / IDLE_SECONDS


def bytes_moved(browser: Browser, url: str, *, encoding: str | None) -> int:
    """Return all bytes that a new browser fetches until the first chart is shown; `encoding` is what it accepts."""
    context = browser.new_context(extra_http_headers={"Accept-Encoding": encoding} if encoding else {})
    tab = context.new_page()
    network = context.new_cdp_session(tab)
    network.send("Network.enable")
    moved = [0]
    network.on("Network.loadingFinished", lambda told: moved.__setitem__(0, moved[0] + int(told["encodedDataLength"])))
    network.on(
        "Network.webSocketFrameReceived",
        lambda t: moved.__setitem__(0, moved[0] + len(t["response"]["payloadData"]) * 3 // 4),
    )
    shown(tab, f"{url}/train", CHART)
    tab.wait_for_timeout(1500)
    context.close()
    return moved[0]


def through_a_tunnel(browser: Browser, server: Server) -> dict[str, Any]:
    """Return the seconds to the first chart over 100 ms and 4 Mbit/s, with and without compression, and per page."""
    with dug(Tunnel(server.port)) as tunnel:

        def chart(encoding: str | None) -> None:
            context = browser.new_context(extra_http_headers={"Accept-Encoding": encoding} if encoding else {})
            shown(context.new_page(), f"{tunnel.url}/train", CHART)
            context.close()

        figures: dict[str, Any] = {"chart": interleaved(lambda: chart(None), lambda: chart("identity"), rounds=2)}
        figures["switch_s"] = switches(browser, tunnel.url)
    return figures


def main(*, local: bool) -> None:
    """Measure everything, or only what needs no tunnel, and store it."""
    with tempfile.TemporaryDirectory() as scratch:
        workspace = WORKSPACE or fake_workspace(Path(scratch))
        say("start of the app")
        figures: dict[str, Any] = {"start_s": start_of_the_app(workspace)}
        say("server time of each page")
        figures["server_ms"] = server_time(workspace)
        with served(workspace) as (server, _), chromium() as browser:
            say("first page, switches, idle")
            first_page(browser, server.url)
            figures["first_page_s"] = first_page(browser, server.url)
            figures["switch_s"] = switches(browser, server.url)
            figures["shift"] = shift(browser, server.url)
            if not local:
                figures["idle_percent"] = idle(browser, server)
                say("bytes and the tunnel")
                for name, encoding in (("brotli", None), ("gzip", "gzip"), ("as_streamlit_sends_it", "identity")):
                    figures[f"bytes_{name}"] = bytes_moved(browser, server.url, encoding=encoding)
                figures["tunnel"] = through_a_tunnel(browser, server)
    write("pages", figures, partly=local)


def fake_workspace(scratch: Path) -> Path:
    """Return a workspace with a run of the fake trainer."""
    from core.config import config as configs
    from core.data import dataset as datasets
    from core.engine import commands
    from core.ground.workspace import Workspace
    from core.training import run as runs
    from tests.fakes.model import write_model

    workspace = Workspace.open(scratch / "workspace")
    commands.ENTRY = "tests.fakes.trainer"
    os.environ["XTUNER_STUDIO_FAKE_TRAINER"] = "ok"
    write_model(workspace.model("demo"), demo=True)
    dataset = datasets.make_assistant(workspace, "小明")
    config = configs.make(workspace, model="demo", dataset=dataset.name)
    runs.start(workspace, config.name).job.wait(60)
    return workspace.root


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--local", action="store_true")
    main(local=parser.parse_args().local)
