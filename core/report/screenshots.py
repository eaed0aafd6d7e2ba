"""Screenshots of the pages for the report, taken with the installed Chromium from a temporary server.

Pages are opened in screenshot mode (`?shot=1`) and masked like the report. `subjects` defines what each must show.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from core.ground.errors import WorkFailed
from core.ground.files import new_directory, read_json, write_json
from core.ground.inherited import inherited
from core.ground.text import Language, Text
from core.ground.workspace import PROJECT, Workspace
from core.report import browser, outline
from core.report.mask import Mask
from core.report.outline import Picture
from core.report.subjects import not_taken, subjects
from core.training.run import Run

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Each page with its caption and its section in the report. `subjects` has what an image must show for the caption to be
# true.
PAGES = {
    "setup": (Text("准备页：环境检查与作业清单", "Setup page: checks and checklist"), "environment"),
    "dataset": (Text("数据集页", "Dataset page"), "dataset"),
    "config": (Text("配置页：设置与预检", "Config page: settings and preflight"), "config"),
    "train": (
        Text("训练页：损失曲线与途中的回答", "Train page: loss curves and answers during training"),
        "training",
    ),
    "export": (Text("导出页：转换、合并、校验", "Export page: convert, merge, verify"), "export"),
    "chat": (Text("对话页：微调前后", "Chat page: before and after"), "comparison"),
}
WIDTH = 1280
MOST_HEIGHT = 6000
SERVER_SECONDS = 60.0
PAGE_MS = 60_000
# How long a page may take to show what its screenshot requires.
SHOWN_MS = 60_000
# Collects all texts of a page, to be masked and put back in place.
_WORDS = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  window.__texts = [];
  while (walker.nextNode()) window.__texts.push(walker.currentNode);
  window.__fields = [...document.querySelectorAll('input, textarea')];
  return [...window.__texts.map(n => n.data), ...window.__fields.map(f => f.value)];
}"""
_MASKED = """words => words.forEach((word, i) => {
  const n = window.__texts.length;
  if (i < n) { if (window.__texts[i].data !== word) window.__texts[i].data = word; }
  else if (window.__fields[i - n].value !== word) window.__fields[i - n].value = word;
})"""
# The readable text of the page, including that in input fields.
_READ = """() => {
  const block = document.querySelector('[data-testid=stMainBlockContainer]');
  return [block.innerText, ...[...block.querySelectorAll('input, textarea')].map(f => f.value)].join('\\n');
}"""
# 0 while one page replaces another. A page with an input line has a different frame, which scrolls to its end and keeps
# that line below the content.
_HEIGHT = """() => {
  const block = document.querySelector('[data-testid=stMainBlockContainer]');
  const main = document.querySelector('[data-testid=stMain], [data-testid=stAppScrollToBottomContainer]');
  const line = document.querySelector('[data-testid=stBottom]');
  if (!block || !main) return 0;
  const shown = block.getBoundingClientRect();
  return Math.ceil(line ? shown.height + line.getBoundingClientRect().height : shown.bottom + main.scrollTop);
}"""


def taken(run: Run, language: Language) -> list[Picture]:
    """Return the screenshots taken in `language`, in the order of the work.

    Empty if they show what the report now masks.
    """
    there = outline.directory(run)
    how = read_json(there / "screens.json") or {}
    if how.get("language") != language or (outline.load(run).masked and not how.get("masked")):
        return []
    found = []
    for name, (caption, section) in PAGES.items():
        if (there / f"screen-{name}.png").is_file():
            found.append(Picture(file=f"screen-{name}.png", caption=caption.in_(language), section=section))
    return found


def taken_at(run: Run) -> float | None:
    """Return when the screenshots were taken, in Unix seconds; None if there are none."""
    return (read_json(outline.directory(run) / "screens.json") or {}).get("taken")


def discard(run: Run) -> None:
    """Delete the screenshots."""
    for path in (*outline.directory(run).glob("screen-*.png"), outline.directory(run) / "screens.json"):
        path.unlink(missing_ok=True)


def missing(run: Run, language: Language) -> list[str]:
    """Return which screenshots could not be taken last time, and why."""
    told = (read_json(outline.directory(run) / "screens.json") or {}).get("missing") or []
    return [Text(words["zh"], words["en"]).in_(language) for words in told]


def take(
    workspace: Workspace, run: Run, language: Language, tell: Callable[[float], None] = lambda _: None
) -> list[Text]:
    """Take a screenshot of every page about `run`; return which could not be taken, and why.

    A screenshot is only taken while the page shows what its caption says. Raises BadInput without Chromium, WorkFailed
    if a page fails.
    """
    program, masked = browser.needed(), outline.load(run).masked
    mask = Mask(workspace, on=masked, then=run.workspace_then)
    place = outline.directory(run)
    wanted, remarks = subjects(workspace, run, language)
    with new_directory(place / "screens", replace=True) as partial, _served(workspace) as address:
        locale = "zh-CN" if language == "zh" else "en-US"
        with browser.opened(program, width=WIDTH, locale=locale) as context:
            tab = context.new_page()
            for number, subject in enumerate(wanted):
                tell((number + 1) / (len(wanted) + 1))
                query = {"shot": "1", "embed": "true", **subject.query, **({"lang": "en"} if language == "en" else {})}
                # The first page is served at the root only.
                where = "" if subject.page == next(iter(PAGES)) else subject.page
                path = partial / f"screen-{subject.page}.png"
                absent = _picture(tab, f"{address}/{where}?{urlencode(query)}", mask, path, subject.shows)
                if absent:
                    remarks.append(
                        not_taken(subject.page, Text(f"页面上没有“{absent}”", f"it does not show “{absent}”"))
                    )
    discard(run)
    for path in sorted((place / "screens").iterdir()):
        os.replace(path, place / path.name)
    (place / "screens").rmdir()
    told = {"taken": time.time(), "language": language, "masked": masked}
    write_json(place / "screens.json", {**told, "missing": [{"zh": words.zh, "en": words.en} for words in remarks]})
    tell(1.0)
    return remarks


def _picture(tab: "Page", url: str, mask: Mask, path: Path, shows: Sequence[str]) -> str | None:
    """Capture a page of any height; or return the first of the words in `shows` that is missing, without capturing."""
    tab.set_viewport_size({"width": WIDTH, "height": 900})
    tab.goto(url, timeout=PAGE_MS)
    tab.wait_for_selector("[data-testid=stMainBlockContainer] h1", timeout=PAGE_MS)
    for _ in range(2):
        # Make the window as high as the page; what comes into view may be drawn only then.
        _settle(tab)
        height = min(MOST_HEIGHT, max(400, tab.evaluate(_HEIGHT)))
        tab.set_viewport_size({"width": WIDTH, "height": height})
    _settle(tab)
    deadline = time.monotonic() + SHOWN_MS / 1000
    while absent := lacking(tab.evaluate(_READ), shows):
        if time.monotonic() > deadline:
            return absent
        tab.wait_for_timeout(300)
    tab.evaluate(_MASKED, [mask(word) for word in tab.evaluate(_WORDS)])
    tab.screenshot(path=str(path), animations="disabled")
    return None


def lacking(text: str, words: Sequence[str]) -> str | None:
    """Return the first of `words` that is not in `text`, ignoring line breaks and spaces."""
    there = "".join(text.split())
    return next((word for word in words if "".join(word.split()) not in there), None)


def _settle(tab: "Page") -> None:
    """Wait until the page's script has run, nothing is loading, and the height is stable."""
    tab.wait_for_selector("[data-test-script-state=notRunning]", state="attached", timeout=PAGE_MS)
    tab.wait_for_function("() => !document.querySelector('[data-testid=stSkeleton]')", timeout=PAGE_MS)
    height, same, deadline = -1, 0, time.monotonic() + 20
    while same < 4 and time.monotonic() < deadline:
        now = tab.evaluate(_HEIGHT)
        same, height = (same + 1, height) if now and now == height else (0, now)
        tab.wait_for_timeout(150)


@contextmanager
def _served(workspace: Workspace) -> Iterator[str]:
    """Serve the app on a free local port for the duration of the block; yields its address. Raises WorkFailed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), "--server.baseUrlPath", ""],
        cwd=PROJECT,
        env=inherited({"XTUNER_STUDIO_HOME": str(workspace.root)}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + SERVER_SECONDS
        while not _answers(f"{address}/_stcore/health"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise WorkFailed(
                    "截图用的服务没有启动：请再试一次", "the server for the screenshots did not start: try again"
                )
            time.sleep(0.1)
        yield address
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False
