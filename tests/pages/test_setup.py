"""The first page: what a new user sees, the demo as it runs and after it, the models, the tunnel."""

import sys

import pytest

from core.engine import model as models
from core.ground.files import write_json
from core.jobs.job import Job, Status
from core.training.run import Run
from tests.fakes.model import write_model
from tests.pages.screen import cells, open_page, texts


@pytest.mark.usefixtures("workspace")
def test_an_empty_workspace_says_what_to_do():
    page = open_page("setup")
    assert page.title[0].value == "准备"
    assert any("还没有模型" in info.value for info in page.info)
    assert page.button(key="build_demo_model").label == "构建示例模型"
    assert any("（0 / 8）" in heading.value for heading in page.subheader)
    assert "ssh -CN -L" in page.main.code[-1].value
    assert page.main.code[-1].value.endswith("-p 22 root@ssh.intern-ai.org.cn")


@pytest.mark.usefixtures("workspace")
def test_the_tunnel_command_follows_what_is_typed():
    page = open_page("setup")
    page.text_input(key="tunnel_host").set_value("gpu.example.org")
    page.number_input(key="tunnel_port").set_value(33090).run()
    assert page.main.code[-1].value.endswith("-p 33090 root@gpu.example.org")
    page.text_input(key="tunnel_host").set_value("x; rm -rf ~").run()
    assert any("主机和用户名" in error.value for error in page.error)


@pytest.mark.usefixtures("exported_run")
def test_the_checklist_is_ticked_from_the_disk():
    page = open_page("setup")
    assert any("（7 / 8）" in heading.value for heading in page.subheader)


def test_a_model_is_linked(workspace, tmp_path):
    directory = write_model(tmp_path / "shared" / "internlm2-tiny")
    page = open_page("setup")
    page.text_input(key="link_path").set_value(str(directory))
    page.button(key="link_model_submit").click().run()
    assert [model.name for model in models.every(workspace)] == ["internlm2-tiny"]
    assert "InternLM2ForCausalLM" in cells(page)


def test_a_model_that_is_not_whole_is_refused_and_the_path_stays(workspace, tmp_path):
    directory = write_model(tmp_path / "broken", shards=2)
    (directory / "model-00002-of-00002.safetensors").unlink()
    page = open_page("setup")
    page.text_input(key="link_path").set_value(str(directory))
    page.button(key="link_model_submit").click().run()
    assert any("model\\-00002" in error.value for error in page.error)
    assert page.text_input(key="link_path").value == str(directory)
    assert not models.every(workspace)


@pytest.mark.parametrize("nickname", ["", "长" * 10_000, "a/b"])
def test_a_nickname_that_will_not_do_is_refused(workspace, nickname):
    page = open_page("setup")
    page.text_input(key="demo_nickname").set_value(nickname)
    page.button(key="demo_submit").click().run()
    assert any("昵称" in error.value for error in page.error)
    assert page.text_input(key="demo_nickname").value == nickname
    assert not (workspace.jobs / "demo-1").exists()


def test_a_running_demo_shows_its_stages_and_can_be_stopped(workspace):
    job = Job.start(workspace.jobs, "demo", ["sleep", "60"], facts={"nickname": "小明"})
    stages = [
        {"name": "model", "status": "done", "done": 1.0, "seconds": 70.0},
        {"name": "train", "status": "running", "done": 0.4, "seconds": 20.0, "eta_s": 30.0},
    ]
    write_json(job.directory / "progress.json", {"done": 0.2, "note": "demo", "run": None, "stages": stages})
    page = open_page("setup")
    shown = texts(page)
    assert "小明" in shown
    assert "1 分 10 秒" in shown
    assert "约剩 30 秒" in shown
    next(button for button in page.button if button.label == "停止").click().run()
    assert job.wait(20) is Status.KILLED
    assert any("按要求停止" in warning.value for warning in open_page("setup").warning)


def test_a_demo_that_failed_says_why(workspace):
    code = "import sys; sys.exit('OSError: [Errno 28] No space left on device')"
    Job.start(workspace.jobs, "demo", [sys.executable, "-c", code], facts={"nickname": "小明"}).wait(20)
    page = open_page("setup")
    assert any("磁盘已满" in error.value for error in page.error)
    assert any("No space left" in code.value for code in page.code)


def test_a_finished_demo_ends_on_the_comparison(workspace, exported_run: Run):
    job = Job.start(workspace.jobs, "demo", [sys.executable, "-c", ""], facts={"nickname": "小明"})
    assert job.wait(20) is Status.FINISHED
    stages = [{"name": "model", "status": "done", "done": 1.0, "seconds": 1.0}]
    write_json(job.directory / "progress.json", {"done": 1.0, "run": exported_run.id, "stages": stages})
    write_json(
        exported_run.path / "demo.json",
        {
            "before": [{"prompt": "你是谁", "answer": "我是书生·浦语"}],
            "after": [{"prompt": "你是谁", "answer": "我是小明的小助手"}],
        },
    )
    page = open_page("setup")
    assert any("小明的小助手" in success.value for success in page.success)
    assert ":green-background[小明]" in cells(page)
    assert [metric.value for metric in page.metric] == ["100%", "100%", "0%"]
