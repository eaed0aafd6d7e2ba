"""The Chromium installed on this machine, if any: prints a page as PDF, and opens pages for screenshots.

Loads nothing from the network: requests to any host except this machine are blocked.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core.ground.errors import BadInput, WorkFailed
from core.ground.inherited import inherited
from core.ground.text import Text

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Route

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
HOW = Text(
    "安装 Chromium：apt-get install chromium fonts-noto-cjk（或用 CHROMIUM 环境变量指出它）",
    "install Chromium: apt-get install chromium fonts-noto-cjk (or set its path in the environment variable CHROMIUM)",
)
_FLAGS = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)


def find() -> Path | None:
    """Return the browser's executable: the one `CHROMIUM` names, else the first on PATH; None if there is none."""
    named = os.environ.get("CHROMIUM")
    if named is not None:
        return Path(named) if os.access(named, os.X_OK) and Path(named).is_file() else None
    return next((Path(found) for name in NAMES if (found := shutil.which(name))), None)


def needed() -> Path:
    """Return the browser's executable. Raises BadInput if there is none."""
    found = find()
    if found is None:
        raise BadInput(f"这台机器上没有 Chromium，不能截图。{HOW.zh}", f"Chromium is not installed; {HOW.en}")
    return found


@contextmanager
def opened(program: Path, *, width: int = 1280, height: int = 900, locale: str = "zh-CN") -> Iterator["BrowserContext"]:
    """A headless browser for the duration of the block. Raises WorkFailed if it does not start."""
    from playwright.sync_api import Error, sync_playwright

    # Chromium refuses to run as root, the usual user in a container, unless its sandbox is disabled.
    flags = [*_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=str(program), args=flags, env=inherited())
        except Error as error:
            said = str(error).splitlines()[0][:200]
            raise WorkFailed(f"Chromium 没有启动：{said}", f"Chromium did not start: {said}") from error
        try:
            context = chromium.new_context(
                viewport={"width": width, "height": height}, locale=locale, device_scale_factor=1.5
            )
            context.route("**/*", _own_machine_only)
            yield context
        except Error as error:
            said = str(error).splitlines()[0][:200]
            raise WorkFailed(f"Chromium 没有完成：{said}", f"Chromium did not finish: {said}") from error
        finally:
            chromium.close()


def print_pdf(program: Path, html: str, path: Path) -> None:
    """Print a self-contained page to the PDF `path`. Raises WorkFailed."""
    with opened(program) as context:
        tab = context.new_page()
        tab.set_content(html, wait_until="load")
        tab.evaluate("document.fonts.ready")
        margin = {"top": "15mm", "bottom": "15mm", "left": "14mm", "right": "14mm"}
        tab.pdf(path=str(path), format="A4", margin=margin, print_background=True)


def _own_machine_only(route: "Route") -> None:
    if route.request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
        route.continue_()
    else:
        route.abort()
