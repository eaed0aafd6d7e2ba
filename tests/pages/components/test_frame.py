"""The frame of every page: an unusable workspace, what is running, and what must never be imported."""

import subprocess
import sys

import pytest
from streamlit.testing.v1 import AppTest

from core.ground.workspace import PROJECT
from core.jobs.job import Job
from tests.conftest import PATIENCE
from tests.pages.screen import NUMBERS, open_page

HEAVY = {"torch", "transformers", "peft", "datasets", "mmengine", "xtuner"}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_workspace_that_cannot_be_made_is_one_clear_line(name, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XTUNER_STUDIO_HOME", str(tmp_path / "file" / "workspace"))
    page = open_page(name)
    assert len(page.error) == 1
    assert "不可写" in page.error[0].value


def test_the_sidebar_says_what_runs(running_run):
    page = open_page("report")
    # By the name under which it is selected.
    (name,) = page.selectbox(key="run").options
    labels = [link.proto.label.replace("\\", "") for link in page.sidebar.get("page_link")]
    assert f"训练 {name}" in labels
    assert running_run.id not in "".join(labels)


def test_the_sidebar_says_what_is_done_with_a_run(finished_run):
    job = Job.start(finished_run.jobs, "score", ["sleep", "600"])
    try:
        sidebar = open_page("report").sidebar
        assert "评分" in [link.proto.label for link in sidebar.get("page_link")]
        assert not any("没有正在运行" in text.value for text in sidebar.markdown)
    finally:
        job.stop(discard=True)
    assert any("没有正在运行" in text.value for text in open_page("report").sidebar.markdown)


@pytest.mark.usefixtures("workspace")
def test_the_sidebar_of_a_quiet_workspace():
    assert any("没有正在运行" in text.value for text in open_page("report").sidebar.markdown)


def test_that_others_could_get_in_is_told_once(workspace):
    workspace.narrowed.touch()
    app = AppTest.from_file(str(PROJECT / "app.py"), default_timeout=PATIENCE)
    assert any("别的账号" in shown.value for shown in app.run().info)
    assert not any("别的账号" in shown.value for shown in app.run().info)


@pytest.mark.usefixtures("workspace")
def test_the_first_page_is_the_setup():
    app = AppTest.from_file(str(PROJECT / "app.py"), default_timeout=PATIENCE).run()
    assert app.title[0].value == "准备"


def test_the_process_of_the_pages_never_loads_the_engine(exported_run):
    """Draws all pages in a separate process, with everything they show."""
    source = f"""
import sys
from tests.conftest import PATIENCE
from tests.pages.screen import NUMBERS, open_page
for name in NUMBERS:
    open_page(name, run={exported_run.id!r})
print(sorted({HEAVY!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", source], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
