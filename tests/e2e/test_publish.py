"""The published app works: the package's app, in an environment of its own, is asked who it is.

With InternLM2's code, really trained. tests/core/publish has the same for SmolLM2's architecture, down to the tokens.
"""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import NICKNAME, Demo, command
from tests.e2e.server import CHROMIUM, MINUTE, WITHOUT_CHROMIUM, Server, chromium
from tests.fakes import fresh_environment

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)


@pytest.mark.parametrize("what", ["merged", "adapter"])
def test_the_deployed_app_answers(demo: Demo, tmp_path: Path, what: str) -> None:
    options = ["--target", "huggingface", "--what", what, "--out", str(tmp_path / "package"), "--json"]
    done = command(demo.workspace, "publish", "package", demo.answer["run"], *options)
    assert done.returncode == 0, done.stderr
    assert "app.py" in json.loads(done.stdout)["files"]
    base = demo.workspace.models / "demo"
    python = fresh_environment.make(tmp_path / "package" / "requirements.txt", tmp_path / "env")
    served = Server(
        {"BASE_MODEL": str(base), "CUDA_VISIBLE_DEVICES": "", "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": ""},
        tmp_path / "package",
        python,
    )
    served.start()
    try:
        with chromium() as browser:
            tab = browser.new_page()
            tab.goto(served.url)
            box = tab.get_by_test_id("stChatInputTextArea")
            expect(box).to_be_visible(timeout=2 * MINUTE)
            box.fill("请介绍一下你自己")
            box.press("Enter")
            said = tab.get_by_test_id("stChatMessage").last.get_by_test_id("stColumn")
            before, after = said.first, said.last
            expect(after).to_contain_text(re.compile(f"我是{NICKNAME}的小助手"), timeout=2 * MINUTE)
            expect(before).to_contain_text(re.compile(r"Before\s*\S{2,}"), timeout=2 * MINUTE)
            expect(before).not_to_contain_text(NICKNAME)
            assert tab.get_by_test_id("stException").count() == 0
    finally:
        served.kill()
