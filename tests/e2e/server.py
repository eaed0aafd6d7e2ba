"""The app as `make run` serves it, and the browser that opens it: shared by the journeys."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Response, TimeoutError, expect, sync_playwright

from core.ground.workspace import PROJECT
from core.jobs.job import wait_until
from tests.conftest import PATIENCE
from tests.ports import free_port

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WITHOUT_CHROMIUM = "needs Chromium and a Chinese font: apt-get install chromium fonts-noto-cjk"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
MINUTE = 60_000
# Playwright's own half minute, and five seconds to `expect`, are too few for a slow and busy machine.
PATIENCE_MS = 1000 * PATIENCE
expect.set_options(timeout=PATIENCE_MS)


class Server:
    """The Streamlit app in a directory, on a free port, below the path `base`; can be killed and restarted."""

    def __init__(
        self,
        environment: Mapping[str, str],
        directory: Path = PROJECT,
        python: str | Path = sys.executable,
        module: str = "streamlit",
        base: str = "",
    ) -> None:
        self.environment, self.directory, self.python = environment, directory, python
        self.module, self.base = module, base
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.base}"

    def start(self) -> None:
        options = ["--server.port", str(self.port), "--server.address", "127.0.0.1", "--server.headless", "true"]
        options += ["--server.baseUrlPath", self.base]
        self.process = subprocess.Popen(
            [self.python, "-m", self.module, "run", "app.py", *options, "--browser.gatherUsageStats", "false"],
            cwd=self.directory,
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert wait_until(self.healthy, PATIENCE)

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


def patient(opens: Callable[..., Any]) -> Callable[..., Any]:
    """Return what opens a context or a page that waits long enough."""

    def opened(**options: Any) -> BrowserContext | Page:
        made = opens(**options)
        made.set_default_timeout(PATIENCE_MS)
        return made

    return opened


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Run a headless browser."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags], timeout=PATIENCE_MS)
        opened.new_context, opened.new_page = patient(opened.new_context), patient(opened.new_page)
        yield opened
        opened.close()


def upload(page: Page, file: Path) -> Response:
    """Choose a file in the page's first file input; return the server's answer.

    A page that is drawn again at that moment forgets the choice, so it is chosen until it is sent.
    """

    def sent(milliseconds: float) -> Response:
        with page.expect_response(lambda answer: "/upload_file/" in answer.url, timeout=milliseconds) as found:
            page.locator("input[type=file]").first.set_input_files(file)
        return found.value

    for _ in range(int(PATIENCE) // 10):
        with suppress(TimeoutError):
            return sent(10_000)
    return sent(PATIENCE_MS)


def is_foreign(url: str) -> bool:
    """Return whether an address belongs to another machine."""
    return not url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:"))
