"""Large uploads through the real server go to disk, not into memory, and only if Streamlit would accept them."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect

from core.ground.workspace import Workspace
from core.jobs.job import wait_until
from pages.components.text import catalogue
from tests.conftest import PATIENCE
from tests.e2e.server import CHROMIUM, WITHOUT_CHROMIUM, Server, chromium, upload

WORDS = catalogue("zh")
MEGABYTES = 200


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work")


@pytest.fixture
def server(workspace: Workspace) -> Iterator[Server]:
    served = Server({"XTUNER_STUDIO_HOME": str(workspace.root)})
    served.start()
    yield served
    served.kill()


def sizes(workspace: Workspace, what: str) -> list[int]:
    """Return the bytes of each upload; the page may remove a file or the entire directory meanwhile."""
    try:
        return [path.stat().st_size for path in (workspace.drafts / f"uploads-{what}").iterdir()]
    except FileNotFoundError:
        return []


def most_memory(process: psutil.Process) -> int:
    """Return the peak memory of a process in bytes (VmHWM)."""
    told = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", told)[1])


@pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)
def test_a_large_file_comes_whole_and_never_lies_in_memory(
    server: Server, workspace: Workspace, tmp_path: Path
) -> None:
    given = tmp_path / '数据 "1".jsonl'
    row = json.dumps({"question": "问" * 400, "answer": "答" * 400}, ensure_ascii=False) + "\n"
    with given.open("w", encoding="utf-8") as file:
        for _ in range(MEGABYTES * 1_000_000 // len(row.encode())):
            file.write(row)
    with chromium() as browser:
        page = browser.new_page(locale="zh-CN", viewport={"width": 1440, "height": 900})
        page.goto(f"{server.url}/dataset?lang=zh")
        page.get_by_text(WORDS["dataset.tab_import"]).first.click()
        # First a small file, so that everything the page itself needs is in memory.
        small = tmp_path / "small.jsonl"
        small.write_text(row, encoding="utf-8")
        assert upload(page, small).ok
        expect(page.get_by_text("small.jsonl (").first).to_be_visible()
        before = most_memory(psutil.Process(server.process.pid))
        page.locator("input[type=file]").first.set_input_files(given)
        assert wait_until(lambda: sizes(workspace, "dataset") == [given.stat().st_size], 300)
        expect(page.get_by_test_id("stExpander").first).to_be_visible()
        grown = most_memory(psutil.Process(server.process.pid)) - before
    assert grown < MEGABYTES * 1_000_000 / 3
    assert sizes(workspace, "arriving") == []


def test_an_upload_without_a_token_is_refused_before_anything_is_written(server: Server, workspace: Workspace) -> None:
    request = urllib.request.Request(
        f"{server.url}/_stcore/upload_file/nobody/file-1",
        data=b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
        + b"0" * 5_000_000
        + b"\r\n--x--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
        method="PUT",
    )
    with pytest.raises((urllib.error.URLError, ConnectionError)) as refused:
        urllib.request.urlopen(request, timeout=PATIENCE)
    assert getattr(refused.value, "code", 403) == 403
    assert sizes(workspace, "arriving") == []
