"""The first page: what a new user sees, the demo while it runs and afterwards, the models, the tunnel."""

import json
import os
import sys
from dataclasses import asdict

import pytest

from core.data import dataset as datasets
from core.engine import checkup, interpreter
from core.ground.errors import BadInput
from core.ground.files import write_json
from core.jobs.job import Job, Status, latest_job
from core.models import model as models
from core.models import small
from core.models.hub import download
from core.report import writeup
from core.training.run import Run
from pages.components.setup import guide
from tests.conftest import PATIENCE, ended
from tests.core.models.families import QWEN25
from tests.fakes.model import write_model
from tests.pages.screen import cells, lid, open_page, primary, tab, texts


@pytest.mark.usefixtures("workspace")
def test_an_empty_workspace_says_what_to_do():
    page = open_page("setup")
    assert page.title[0].value == "准备"
    headings = [heading.value for heading in page.header]
    # The two ways, the demo first.
    assert headings[:2] == ["先看演示", "自己做：检查环境"]
    assert page.text_input(key="demo_nickname").label == "你的昵称"
    assert page.button(key="guide_check").label == "运行完整检查"
    assert primary(page) == ["运行完整演示"]
    assert any("（0 / 9）" in heading for heading in headings)


def test_whoever_has_begun_goes_on_first(workspace):
    datasets.make_assistant(workspace, "小明")
    page = open_page("setup")
    assert primary(page) == ["运行完整检查"]
    assert page.header[0].value == "自己做：检查环境"


@pytest.mark.parametrize(("cards", "button"), [([], "下载小模型 SmolLM2"), ([{"name": "A100"}], "链接或下载模型")])
@pytest.mark.usefixtures("workspace")
def test_without_a_gpu_a_model_that_works_without_one_comes_first(monkeypatch, cards, button):
    loaded = checkup.Checkup(time=1.0, loads=[], cuda={"devices": []}, xtuner_version="", xtuner_help="")
    monkeypatch.setattr(checkup, "last", lambda *_: loaded)
    monkeypatch.setattr(guide, "gpus", lambda: cards)
    assert primary(open_page("setup")) == [button]


def test_each_section_and_its_address(workspace):
    for name, words in (
        ("models", "还没有模型"),
        ("machine", "没有 NVIDIA 显卡"),
        ("engine", "自带的 Python 环境"),
        ("tunnel", "127.0.0.1"),
    ):
        page = open_page("setup", section=name)
        assert words in texts(page) + "".join(heading.value for heading in page.header), name
    assert not list(workspace.jobs.glob("*-*"))


@pytest.mark.usefixtures("workspace")
def test_the_tunnel_command_follows_what_is_typed():
    page = open_page("setup", section="tunnel")
    assert [code.value for code in page.main.code] == [
        "ssh.exe -CN -L 8501:127.0.0.1:8501 -p 22 root@ssh.intern-ai.org.cn",
        "ssh -CN -L 8501:127.0.0.1:8501 -p 22 root@ssh.intern-ai.org.cn",
    ]
    page.text_input(key="tunnel_host").set_value("gpu.example.org")
    page.text_input(key="tunnel_port").set_value("33090")
    page.toggle(key="tunnel_shared").set_value(True).run()
    assert page.main.code[1].value == "ssh -CNg -L 8501:127.0.0.1:8501 -p 33090 root@gpu.example.org"
    page.text_input(key="tunnel_host").set_value("ssh -p 40001 me@other.example").run()
    assert page.main.code[1].value.endswith("-p 40001 me@other.example")
    page.text_input(key="tunnel_host").set_value("x; rm -rf ~").run()
    assert any("主机" in error.value for error in page.error)
    assert page.text_input(key="tunnel_host").value == "x; rm -rf ~"


@pytest.mark.usefixtures("exported_run")
def test_the_checklist_is_ticked_from_the_disk():
    page = open_page("setup")
    assert any("（8 / 9）" in heading.value for heading in page.header)
    # It appears once, and only the next step stands out.
    labels = [link.proto.label for link in page.get("page_link")]
    assert [label.partition(" · ")[0] for label in labels if "检查环境" in label] == ["检查环境"]
    assert [label for label in labels if "**" in label] == [":blue[**生成作业报告**]"]
    # What the course does not require is at the bottom and is not counted.
    assert labels.index("带回家：GGUF 文件（可选）") > max(
        map(labels.index, (":blue[**生成作业报告**]", "对比微调前后并评分"))
    )


@pytest.mark.usefixtures("finished_run")
def test_what_is_missing_is_on_every_page():
    for name in ("dataset", "config", "train", "export", "report"):
        page = open_page(name)
        assert any("作业报告还缺：转换、合并、对比与评分" in caption.value for caption in page.sidebar.caption), name


@pytest.mark.usefixtures("config")
def test_the_next_step_leads_to_its_page(monkeypatch):
    loaded = checkup.Checkup(time=1.0, loads=[], cuda={"devices": []}, xtuner_version="", xtuner_help="")
    monkeypatch.setattr(checkup, "last", lambda *_: loaded)
    page = open_page("setup")
    assert page.button(key="guide_go").label == "前往“训练”"
    page.button(key="guide_go").click().run()
    assert not page.exception
    assert page.title[0].value == "训练"


def test_a_model_is_linked_and_asks_for_permission_once(workspace, tmp_path):
    directory = write_model(tmp_path / "shared" / "internlm2-tiny")
    page = open_page("setup", section="models")
    page.text_input(key="link_path").set_value(str(directory))
    page.button(key="link_model_submit").click().run()
    assert [model.name for model in models.every(workspace)] == ["internlm2-tiny"]
    assert "InternLM2ForCausalLM" in cells(page)
    lid(page, "model-internlm2-tiny")
    shown = [code.value for code in page.code]
    assert any(value.startswith(f"internlm2-tiny -> {directory}") for value in shown)
    # Its code is shown before it may run.
    assert any("modeling\\_internlm2" in warning.value for warning in page.warning)
    assert any("Stands for the architecture" in value for value in shown)
    with pytest.raises(BadInput):
        models.usable(workspace, "internlm2-tiny")
    page.button(key="trust-internlm2-tiny").click().run()
    assert models.usable(workspace, "internlm2-tiny").whole
    assert not page.warning
    (directory / "modeling_internlm2.py").write_text("import os")
    page = open_page("setup", section="machine")
    assert "需要你同意" in texts(page)
    page.button(key="trust_look").click().run()
    assert any("之后变了" in warning.value for warning in page.warning)


def test_a_model_says_how_it_is_spoken_to_and_whose_identity_it_brings(workspace, tmp_path):
    directory = write_model(tmp_path / "shared" / "qwen")
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["chat_template"] = QWEN25
    path.write_text(json.dumps(settings))
    models.link(workspace, directory)
    page = open_page("setup", {"model-qwen": True}, section="models")
    assert any("internlm2\\_chat" in words.value for words in page.markdown)
    assert any("Alibaba Cloud" in told.value for told in page.info)
    own, ours = (
        next(c.value for c in page.code if c.value.startswith(start)) for start in ("<|im_start|>s", "<|im_start|>u")
    )
    assert own.endswith(ours)
    # A base model is labeled as such.
    del settings["chat_template"]
    path.write_text(json.dumps(settings))
    page = open_page("setup", {"model-qwen": True}, section="models")
    assert any("基座模型" in warning.value for warning in page.warning)


def test_a_model_that_the_machine_shares_is_offered(workspace, tmp_path, monkeypatch):
    write_model(tmp_path / "share" / "Shanghai_AI_Laboratory" / "internlm2-chat-1_8b")
    monkeypatch.setenv("XTUNER_STUDIO_MODELS", str(tmp_path / "share"))
    page = open_page("setup", section="models")
    assert page.selectbox(key="shared_model").value.endswith("Shanghai_AI_Laboratory/internlm2-chat-1_8b")
    page.button(key="link_shared").click().run()
    assert [model.name for model in models.every(workspace)] == ["internlm2-chat-1_8b"]
    assert not any(box.key == "shared_model" for box in page.selectbox)


def test_a_link_is_taken_away_and_a_model_deleted(workspace, tmp_path, config):
    directory = write_model(tmp_path / "m")
    models.link(workspace, directory)
    page = open_page("setup", {"model-m": True, "model-demo": True}, section="models")
    page.button(key="unlink-m").click().run()
    assert [model.name for model in models.every(workspace)] == ["demo"]
    assert directory.is_dir()
    assert any(config.name in warning.value.replace("\\", "") for warning in page.warning)
    page.button(key="delete-demo").click().run()
    assert models.every(workspace) == []


def test_a_model_that_is_not_whole_is_refused_and_the_path_stays(workspace, tmp_path):
    directory = write_model(tmp_path / "broken", shards=2)
    (directory / "model-00002-of-00002.safetensors").unlink()
    page = open_page("setup", section="models")
    page.text_input(key="link_path").set_value(str(directory))
    page.button(key="link_model_submit").click().run()
    assert any("model\\-00002" in error.value for error in page.error)
    assert page.text_input(key="link_path").value == str(directory)
    assert not models.every(workspace)


def test_a_download_that_is_refused_keeps_what_was_typed(workspace):
    page = open_page("setup", {"sources_tab": "下载"}, section="models")
    assert page.text_input(key="download_repository_modelscope").value == "Shanghai_AI_Laboratory/internlm2-chat-1_8b"
    page.text_input(key="download_repository_modelscope").set_value("no such thing")
    page.button(key="download_start").click().run()
    assert any("组织/模型" in error.value.replace("\\", "") for error in page.error)
    tab(page, "sources_tab", "链接本地模型")
    tab(page, "sources_tab", "下载")
    assert page.text_input(key="download_repository_modelscope").value == "no such thing"
    assert download.latest(workspace) is None


def test_a_download_as_it_goes_and_one_that_failed(workspace):
    source = download.Source.of("modelscope", "org/tiny", endpoint="https://mirror.example")
    facts = {"name": "tiny", "hub": "modelscope"}
    job = Job.start(workspace.jobs, "download", ["sleep", "600"], facts=facts)
    write_json(workspace.models / ".tiny.download" / "download.json", asdict(source))
    told = {
        "note": "download",
        "file": "model.safetensors",
        "bytes": 5e8,
        "total": 2e9,
        "rate": 1e7,
        "done": 0.25,
        "eta_s": 150.0,
    }
    write_json(job.directory / "progress.json", told)
    page = open_page("setup", {"sources_tab": "下载"}, section="models")
    shown = texts(page)
    assert "476.8 MB / 1.9 GB" in shown
    assert "9.5 MB/s" in shown
    assert "约剩 2 分 30 秒" in shown
    assert page.button(key="download_start").disabled
    job.stop(grace=0)
    page = open_page("setup", {"sources_tab": "下载"}, section="models")
    assert page.button(key="resume-tiny").label == "继续下载"
    problem = {"zh": "没有找到这个模型", "en": "no such model"}
    code = f"import os; open(os.environ['XTUNER_STUDIO_PROGRESS'], 'w').write({json.dumps({'problem': problem})!r}); raise SystemExit(1)"
    failed = Job.start(workspace.jobs, "download", [sys.executable, "-c", code], facts=facts)
    assert failed.wait(PATIENCE) is Status.FAILED
    page = open_page("setup")
    assert any("没有找到这个模型" in error.value for error in page.error)
    page = open_page("setup", {"sources_tab": "下载"}, section="models")
    page.button(key="discard-tiny").click().run()
    assert download.unfinished(workspace) == {}
    assert not page.error


def test_an_engine_that_will_not_do_is_refused_and_the_path_stays(workspace):
    page = open_page("setup", section="engine")
    page.text_input(key="engine_path").set_value("/no/such/python")
    page.button(key="engine_use").click().run()
    assert any("/no/such/python" in error.value.replace("\\", "") for error in page.error)
    assert page.text_input(key="engine_path").value == "/no/such/python"
    write_json(workspace.settings / "engine.json", {"python": "/gone/python"})
    page = open_page("setup", section="engine")
    assert any("/gone/python" in error.value.replace("\\", "") for error in page.error)
    page.button(key="engine_own").click().run()
    assert interpreter.python(workspace) == sys.executable


@pytest.mark.usefixtures("workspace")
def test_what_the_thorough_check_found(monkeypatch):
    loads = [{"module": "peft", "ok": False, "seconds": 1.0, "error": "ImportError: EncoderDecoderCache"}]
    cuda = {
        "available": True,
        "devices": [
            {"index": 0, "name": "A100", "free": 7 * 2**30, "total": 8 * 2**30, "capability": "8.0", "bf16": True}
        ],
        "error": None,
    }
    found = checkup.Checkup(time=1.0, loads=loads, cuda=cuda, xtuner_version="INFO - 0.2.0", xtuner_help="xtuner MODE")
    monkeypatch.setattr(checkup, "last", lambda *_: found)
    page = open_page("setup", section="engine")
    assert any("EncoderDecoderCache" in error.value for error in page.error)
    assert any("$ xtuner version\nINFO - 0.2.0" in code.value for code in page.code)
    assert any("xtuner MODE" in code.value for code in page.code)
    assert any("8 GB" in caption.value for caption in page.caption)


@pytest.mark.parametrize("nickname", ["", "长" * 10_000, "a/b"])
def test_a_nickname_that_will_not_do_is_refused(workspace, nickname):
    page = open_page("setup")
    page.text_input(key="demo_nickname").set_value(nickname)
    page.button(key="demo_submit").click().run()
    assert any("昵称" in error.value for error in page.error)
    assert page.text_input(key="demo_nickname").value == nickname
    assert not (workspace.jobs / "demo-1").exists()


@pytest.mark.parametrize("on", ["toy", "real"])
def test_the_demo_runs_on_the_toy_or_on_a_real_model_as_is_chosen(workspace, monkeypatch, on):
    monkeypatch.setattr("core.demo.module_command", lambda *_: [sys.executable, "-c", "import time; time.sleep(600)"])
    page = open_page("setup")
    assert page.radio(key="demo_model").value == "toy"
    page.radio(key="demo_model").set_value(on)
    page.text_input(key="demo_nickname").set_value("小明")
    page.button(key="demo_submit").click().run()
    job = latest_job(workspace.jobs, "demo")
    assert job.spec["facts"] == {"nickname": "小明", "real": on == "real"}
    assert ("--real" in job.spec["argv"]) == (on == "real")
    job.stop(discard=True)


def test_a_running_demo_shows_its_stages_and_can_be_stopped(workspace):
    job = Job.start(workspace.jobs, "demo", ["sleep", "600"], facts={"nickname": "小明"})
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
    assert job.wait(PATIENCE) is Status.KILLED
    assert any("按要求停止" in warning.value for warning in open_page("setup").warning)


def test_a_demo_that_failed_says_why(workspace):
    code = "import sys; sys.exit('OSError: [Errno 28] No space left on device')"
    Job.start(workspace.jobs, "demo", [sys.executable, "-c", code], facts={"nickname": "小明"}).wait(PATIENCE)
    page = open_page("setup")
    assert any("磁盘已满" in error.value for error in page.error)
    assert any("No space left" in code.value for code in page.code)


def test_a_finished_demo_ends_on_the_comparison(workspace, exported_run: Run, monkeypatch):
    job = Job.start(workspace.jobs, "demo", [sys.executable, "-c", ""], facts={"nickname": "小明"})
    assert job.wait(PATIENCE) is Status.FINISHED
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
    assert "我是:green-background[小明]的小助手" in texts(page)
    assert ":green-background[小明]" in cells(page)
    assert [metric.value for metric in page.metric] == ["100%", "100%", "0%"]
    assert "第 9 步，共 9 步" in texts(page)
    monkeypatch.setattr(writeup, "there", lambda _: True)
    page = open_page("setup")
    assert page.header[0].value == "作业的每一步都完成了"
    assert "共 9 步" not in texts(page)
    # The demo did them; what is left is to do them oneself.
    assert page.button(key="next_yourself").label == "自己走一遍"
    (exported_run.path / "demo.json").unlink()
    assert "next_yourself" not in [button.key for button in open_page("setup").button]


def test_the_small_model_has_its_button_and_says_why_it_failed(workspace, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    page = open_page("setup", {"sources_tab": "现成的小模型"}, section="models")
    assert "玩具" in texts(page)
    page.button(key="build_small_model").click().run()
    (job,) = [Job(path) for path in workspace.jobs.glob("small_model-*")]
    assert "正在下载并解包小模型" in texts(page)
    assert ended(job) is Status.FAILED
    page.run()
    assert any("连不上包索引" in error.value for error in page.error)
    assert page.button(key="build_small_model")


def test_the_small_model_that_is_there_is_named(workspace):
    write_model(workspace.model(small.NAME))
    write_json(workspace.model(small.NAME) / "origin.json", {})
    page = open_page("setup", {"sources_tab": "现成的小模型"}, section="models")
    assert any(small.NAME in success.value for success in page.success)
    assert "build_small_model" not in [button.key for button in page.button]
