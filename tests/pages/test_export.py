"""The export page: from a checkpoint to a verified model."""

import shutil
import sys
import time

import pytest

from core.export import export
from core.export.export import asked
from core.export.gguf import conversion
from core.ground.files import read_json, write_json
from core.jobs.job import Job, Status
from tests.conftest import PATIENCE
from tests.core.export.gguf import tiny
from tests.pages.screen import open_page, primary, texts


@pytest.mark.usefixtures("workspace")
def test_an_empty_workspace_says_what_to_do():
    assert "还没有训练" in texts(open_page("export"))


def test_an_exported_run_shows_sizes_verdict_and_commands(exported_run):
    page = open_page("export")
    shown = texts(page)
    assert "回答完全一致" in shown
    assert primary(page) == ["下一步：生成作业报告"]
    # Before it is scored, that is to come; Train says the same.
    (exported_run.path / "scores.json").unlink()
    shutil.rmtree(exported_run.path / "scores")
    assert primary(open_page("export")) == primary(open_page("train")) == ["下一步：和它对话"]
    assert page.metric[0].value == "2.5e-06"
    assert "xtuner convert pth_to_hf" in shown
    assert "xtuner convert merge" in shown
    assert str(exported_run.merged) in shown


def test_a_step_without_what_it_needs_is_refused(finished_run):
    page = open_page("export")
    assert "还没有做" in texts(page)
    assert [button.label for button in page.button if button.proto.type == "primary"] == ["转换 + 合并 + 校验"]
    page.button(key="export-merge").click().run()
    assert any("还没有转换" in error.value for error in page.error)
    assert not list(finished_run.jobs.glob("export-*"))


def test_all_steps_start_as_one_job(finished_run, monkeypatch):
    started = []
    monkeypatch.setattr(
        export, "engine_command", lambda _workspace, _module, *words: started.extend(words) or ["sleep", "600"]
    )
    page = open_page("export")
    page.selectbox(key=f"checkpoint-{finished_run.id}").set_value("iter_8")
    page.button(key="export-all").click().run()
    assert started[:3] == ["convert", "merge", "verify"]
    assert read_json(finished_run.path / "export" / "plan.json")["checkpoint"].endswith("iter_8.pth")
    assert page.get("progress")
    assert page.button(key="export-all").disabled
    next(button for button in page.button if button.label == "停止").click().run()
    assert Job(finished_run.jobs / "export-1").wait(PATIENCE) is Status.KILLED


def test_an_export_that_failed_says_why(finished_run):
    code = "import sys; sys.exit('OSError: [Errno 28] No space left on device')"
    Job.start(finished_run.jobs, "export", [sys.executable, "-c", code]).wait(PATIENCE)
    assert any("磁盘已满" in error.value for error in open_page("export").error)


def test_a_new_adapter_makes_the_verdict_old(exported_run):
    made = read_json(exported_run.adapter / "export.json")
    write_json(exported_run.adapter / "export.json", {**made, "made": time.time() + 10})
    assert "回答完全一致" not in texts(open_page("export"))


def test_what_cannot_become_a_gguf_file_is_told_in_words(exported_run):
    write_json(exported_run.merged / "config.json", {"architectures": ["GlmForCausalLM"]})
    page = open_page("export")
    assert any("GlmForCausalLM" in info.value for info in page.info)
    assert "gguf-make" not in [button.key for button in page.button]


def test_a_gguf_file_to_take_home(workspace, exported_run):
    tiny.write_model(exported_run.merged)
    page = open_page("export")
    # This verification did not store its answers as tokens.
    assert page.checkbox(key="gguf_verify").disabled
    page.button(key="gguf-make").click().run()
    job = Job(exported_run.jobs / "gguf-1")
    assert job.spec["facts"] == {"kinds": ["q8_0"], "verify": False}
    assert job.wait(PATIENCE) is Status.FINISHED, job.log_tail()
    (made,) = conversion.made(exported_run)
    shown = texts(open_page("export"))
    assert str(made.path) in shown
    assert "ollama create" in shown
    assert "rsync -rP" in shown
    found = {
        "same_prompts": True, "same_chat": True, "same_tokens": False, "exact": False, "near_ties": 0, "share": 0.5,
        "nickname": None, "ok": True, "answers": [{"merged": "我是小明的小助手", "gguf": "我是小明"}] * len(asked(exported_run)),
    }  # fmt: skip
    write_json(made.path.with_name("verified.json"), found)
    page = open_page("export")
    assert "相同的 token 占 50%" in texts(page)
    # Each answer next to its question.
    assert list(page.table[-1].value.iloc[:, 0]) == list(asked(exported_run))
    assert workspace.root in made.path.parents


def test_a_gguf_job_that_failed_says_why_in_its_own_words(exported_run):
    tensors = tiny.write_model(exported_run.merged)
    tiny.write_safetensors(
        exported_run.merged / "model.safetensors", {**tensors, "odd.weight": tensors["lm_head.weight"]}
    )
    page = open_page("export")
    page.button(key="gguf-make").click().run()
    assert Job(exported_run.jobs / "gguf-1").wait(PATIENCE) is Status.FAILED
    assert any("没有张量" in error.value for error in open_page("export").error)
