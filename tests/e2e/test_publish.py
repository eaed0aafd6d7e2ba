"""What is published works where it is put: the package's own app is started, and asked who it is."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import NICKNAME, Demo, command
from tests.e2e.server import CHROMIUM, MINUTE, WITHOUT_CHROMIUM, Server, chromium

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)


@pytest.mark.parametrize("what", ["merged", "adapter"])
def test_the_deployed_app_answers(demo: Demo, tmp_path: Path, what: str) -> None:
    options = ["--target", "huggingface", "--what", what, "--out", str(tmp_path / "package"), "--json"]
    done = command(demo.workspace, "publish", "package", demo.answer["run"], *options)
    assert done.returncode == 0, done.stderr
    assert "app.py" in json.loads(done.stdout)["files"]
    base = demo.workspace.models / "demo"
    served = Server({"BASE_MODEL": str(base), "CUDA_VISIBLE_DEVICES": ""}, tmp_path / "package")
    served.start()
    try:
        with chromium() as browser:
            tab = browser.new_page()
            tab.goto(served.url)
            box = tab.get_by_test_id("stChatInputTextArea")
            expect(box).to_be_visible(timeout=2 * MINUTE)
            box.fill("请介绍一下你自己")
            box.press("Enter")
            expect(tab.get_by_text(re.compile(f"我是{NICKNAME}的小助手")).first).to_be_visible(timeout=2 * MINUTE)
            assert tab.get_by_test_id("stException").count() == 0
    finally:
        served.kill()
