"""The train page: start, watch, stop, resume, and why a run failed."""

import json
from dataclasses import replace

import pytest

from core.chat import room
from core.config import config as configs
from core.config import exchange
from core.ground import environment
from core.ground.files import read_json, write_json
from core.jobs.job import Status, wait_until
from core.models import model as models
from core.report import preparation
from core.report.material import Draft
from core.report.outline import Outline
from core.training import run as runs
from pages.components.train import start_form
from pages.components.train.answers import whole
from tests.conftest import PATIENCE
from tests.pages.screen import cells, lid, open_page, primary, texts


@pytest.mark.usefixtures("workspace")
def test_an_empty_workspace_says_what_to_do():
    assert "还没有训练配置" in texts(open_page("train"))


@pytest.mark.usefixtures("config")
def test_a_config_without_a_run_is_there_to_be_trained():
    page = open_page("train")
    assert primary(page) == ["开始训练"]
    # Each switch explains in one line what it does.
    assert "其他回答保持原样" in texts(page)
    # There is nothing to open in a list without runs and an empty trash.
    assert not any(lid.label == "全部训练" for lid in page.expander)


def test_a_training_is_started_and_chosen(workspace, config, fake_engine, monkeypatch):
    # A slow page takes longer than a double click.
    monkeypatch.setattr(start_form, "DOUBLE_CLICK_SECONDS", PATIENCE)
    fake_engine("slow")
    page = open_page("train")
    page.button(key="start_training").click().run()
    run = runs.running(workspace)
    assert page.selectbox(key="run").value == run.id
    assert any("训练" in link.proto.label for link in page.get("page_link"))
    # A double click.
    lid(page, "start_open").button(key="start_training").click().run()
    assert len(runs.every(workspace)) == 1
    assert config.name in run.id


def test_a_second_start_is_called_what_it_is_and_the_first_stays_in_view(workspace, config, running_run, monkeypatch):
    page = open_page("train", {"start_open": True})
    button = page.button(key="start_training")
    assert (button.label, button.proto.type) == ("排队下一个", "secondary")
    monkeypatch.setattr(start_form, "DOUBLE_CLICK_SECONDS", 0.0)
    button.click().run()
    assert [run.facts.config.name for run in runs.queued(workspace)] == [config.name]
    assert page.selectbox(key="run").value == running_run.id
    assert "排队中的训练" in texts(page)
    assert any("已排队" in toast.value for toast in page.toast)


def test_the_run_that_matters_is_shown_and_those_that_never_began_are_not(workspace, config, finished_run, fake_engine):
    fake_engine("import")
    running = runs.start(workspace, config.name)
    waiting = runs.start(workspace, config.name)
    waiting.stop(discard=True)
    page = open_page("train")
    assert page.selectbox(key="run").value == running.id
    assert len(page.selectbox(key="run").options) == 2
    running.stop(discard=True)
    page = open_page("train")
    assert page.selectbox(key="run").value == finished_run.id, "the newer one left nothing to go on with"
    assert [option.split(" · ")[:2] for option in page.selectbox(key="run").options] == [
        ["小明", "第 2 次"],
        ["小明", "第 1 次"],
    ]
    assert open_page("train", run=waiting.id).selectbox(key="run").value == waiting.id, "asked for, it is shown"


@pytest.mark.usefixtures("finished_run")
def test_blue_is_the_next_step_and_no_other(workspace, config, fake_engine):
    page = open_page("train")
    assert primary(page) == ["下一步：导出模型"]
    assert "学会了身份** · 身份得分 100%" in texts(page)
    assert lid(page, "start_open").button(key="start_training").label == "开始训练"
    # A config changed since then is waiting to be trained.
    configs.change(workspace, config.name, {"lr": 0.001})
    assert primary(open_page("train")) == ["开始训练"]
    fake_engine("oom")
    failed = runs.start(workspace, config.name)
    failed.job.wait(PATIENCE)
    assert primary(open_page("train", run=failed.id)) == ["从最后的检查点继续"]
    for checkpoint in failed.work_dir.glob("iter_*.pth"):
        checkpoint.unlink()
    page = open_page("train", run=failed.id)
    assert primary(page) == ["开始训练"]
    assert any("显存不足" in error.value for error in page.error)


def test_a_draft_that_waits_is_said_before_the_start(workspace, config):  # noqa: ARG001
    assert not open_page("train").warning
    config.versions.keep_draft("lr = (")
    assert any("没写完的改动" in warning.value for warning in open_page("train").warning)


def test_a_running_training_is_watched_and_stopped(running_run):
    page = open_page("train")
    assert "进行中" in texts(page)
    assert page.get("plotly_chart")
    assert "/ 6000" in page.metric[0].value
    next(button for button in page.button if button.label == "停止并保存").click().run()
    assert running_run.job.wait(PATIENCE) is Status.KILLED
    page = open_page("train")
    assert primary(page) == ["从最后的检查点继续"]
    assert any("按要求停止" in warning.value for warning in page.warning)
    assert page.button(key=f"resume-{running_run.id}").label == "从最后的检查点继续"


def test_a_training_is_stopped_at_once(running_run):
    page = open_page("train")
    next(button for button in page.button if button.label.startswith("立即停止")).click().run()
    assert running_run.job.wait(PATIENCE) is Status.KILLED
    assert wait_until(lambda: "已停止" in texts(open_page("train")), PATIENCE)


def test_who_does_not_want_to_wait_for_the_saving_need_not(workspace, config, fake_engine):
    fake_engine("hang")
    run = runs.start(workspace, config.name)
    assert wait_until(lambda: len(run.metrics().read()) >= 2, PATIENCE)
    page = open_page("train")
    next(button for button in page.button if button.label == "停止并保存").click().run()
    assert run.job.status().live
    page = open_page("train")
    assert not any(button.label == "停止并保存" for button in page.button)
    next(button for button in page.button if button.label.startswith("立即停止")).click().run()
    assert run.job.wait(PATIENCE) is Status.KILLED


def test_a_finished_training_shows_its_answers(finished_run):
    page = open_page("train")
    shown = texts(page)
    assert "已完成" in shown
    assert finished_run.facts.command in shown
    assert page.metric[0].value == "12 / 12"
    table = cells(page)
    assert "书生·浦语" in table
    assert ":green-background[小明]" in table


def test_updates_that_were_skipped_are_told(finished_run):
    page = open_page("train")
    assert not any("跳过" in caption.value for caption in page.caption)
    progress = finished_run.job.directory / "progress.json"
    write_json(progress, read_json(progress) | {"skipped": 3})
    assert any("3 次更新" in caption.value for caption in open_page("train").caption)


def test_a_failed_training_says_why_and_can_be_resumed(failed_run, fake_engine):
    page = open_page("train")
    assert any("显存不足" in error.value for error in page.error)
    assert any("CUDA out of memory" in code.value for code in page.code)
    fake_engine("ok")
    page.button(key=f"resume-{failed_run.id}").click().run()
    assert failed_run.job.wait(PATIENCE) is Status.FINISHED


def test_a_loss_that_is_no_number_is_a_gap(workspace, config, fake_engine):
    fake_engine("nan")
    run = runs.start(workspace, config.name)
    run.job.wait(PATIENCE)
    assert any("第 7 次迭代" in error.value and "NaN" in error.value for error in open_page("train").error)


@pytest.mark.usefixtures("finished_run")
def test_the_chosen_run_is_that_of_the_address(workspace, config, fake_engine):
    first = runs.find(workspace, "latest")
    fake_engine("ok")
    second = runs.start(workspace, config.name)
    second.job.wait(PATIENCE)
    assert open_page("train", run=first.id).selectbox(key="run").value == first.id
    assert open_page("train").selectbox(key="run").value == second.id
    assert open_page("train", run="gone").selectbox(key="run").value == second.id


def spec(page):
    """Return the run's chart as sent to the browser."""
    return json.loads(page.get("plotly_chart")[0].proto.spec)


def test_a_chart_of_a_run_over_iterations_and_over_time(finished_run):
    page = open_page("train")
    assert not [slider.key for slider in page.slider], "the settings are drawn when opened"
    page = lid(page, "curves_open")
    shown = spec(page)
    names = [trace["name"] for trace in shown["data"]]
    assert {"原始", "平滑", "评测", "检查点", "身份得分（%）"} == set(names), (
        "loss and identity; the rest when asked for"
    )
    assert shown["layout"]["xaxis"]["title"]["text"] == "迭代"
    assert page.get("plotly_chart")[0].proto.alt
    config = json.loads(page.get("plotly_chart")[0].proto.config)
    assert config["toImageButtonOptions"]["filename"] == f"{finished_run.id}-curves"
    page.button_group(key="curves_axis").set_value("time").run()
    assert spec(page)["layout"]["xaxis"]["title"]["text"] == "分钟"
    page.button_group(key="curves_panels-False-True").set_value(["pace", "tokens"]).run()
    assert [trace["name"] for trace in spec(page)["data"]][-2:] == ["秒/迭代", "token/秒"]
    page.toggle(key="curves_log").set_value(True).run()
    assert spec(page)["layout"]["yaxis"]["type"] == "log"
    page.slider(key="curves_part").set_value((50, 100)).run()
    page.button_group(key="curves_axis").set_value("iteration").run()
    assert spec(page)["layout"]["xaxis"]["range"] == [6, 12]
    page.session_state["curves_open"] = False
    drawn = spec(page.run())["layout"]
    assert (drawn["xaxis"]["range"], drawn["yaxis"]["type"]) == ([6, 12], "log"), "what was chosen stays"
    assert lid(page, "curves_open").slider(key="curves_part").value == (50, 100)


def test_a_chart_that_holds_still(running_run):
    page = open_page("train")
    page.toggle(key="curves_live").set_value(False).run()
    held, known = spec(page), len(running_run.metrics().read())
    assert wait_until(lambda: len(running_run.metrics().read()) > known + 2, PATIENCE)
    page.run()
    assert spec(page) == held
    assert "图已停住" in texts(page)
    page.toggle(key="curves_live").set_value(True).run()
    assert spec(page) != held


@pytest.mark.usefixtures("finished_run")
def test_the_figures_of_a_finished_training():
    page = open_page("train")
    shown = {metric.label: metric.value for metric in page.metric}
    assert shown == {"迭代": "12 / 12", "损失": "0.2667", "轮": "2.00", "秒/迭代": "0.010"}
    assert "参数更新 6 · 学习率 2.00e-04 · token/秒 51,200" in texts(page)


def test_many_answers_are_few_rows(workspace, config, fake_engine):
    fake_engine("ok", iters=60)
    runs.start(workspace, config.name).job.wait(PATIENCE)
    page = open_page("train")
    table = next(table.value for table in page.table if whole("身份得分") in table.value)
    assert list(table[whole("迭代")]) == [whole("训练前"), "4", "60"]
    assert list(table[whole("身份得分")]) == ["0%", "100%", "100%"]
    page.toggle(key="answers_all").set_value(True).run()
    assert len(next(table.value for table in page.table if whole("身份得分") in table.value)) == 16


def sampled(run, **values):
    """Add a sample to the run, as of a machine with two GPUs, one of them a MIG instance."""
    whole = {"index": 0, "instance": None, "slice": None, "name": "A100", "used_mb": 40960, "total_mb": 81920,
             "utilisation": 55, "temperature": 60, "power_w": 250, "ours_mb": 6144}  # fmt: skip
    mig = {**whole, "index": 1, "instance": 0, "slice": "mig", "utilisation": None, "power_w": None, "ours_mb": None}
    samples = [
        {"t": 100.0 + second, "cpu": 20.0, "cores": 8, "memory_mb": 4096, "memory_total_mb": 8192, "process_mb": 1024,
         "process_cpu": 100.0, "disk_free_mb": 10240, "disk_total_mb": 20480, "gpus": [whole, mig], "slices": [],
         "processes": [{"pid": 77, "mb": 1024, "cpu": 100.0, "gpu_mb": 6144}], "iter": second, "at": 100.0 + second,
         "cuda": {"index": 0, "used_mb": 6144, "total_mb": 8192, "reserved_mb": 5120, "peak_mb": 5120}, **values}
        for second in range(0, 12, 2)
    ]  # fmt: skip
    run.telemetry.write_text("".join(json.dumps(sample) + "\n" for sample in samples))


def test_gpus_and_what_they_do_not_report(finished_run):
    sampled(finished_run)
    page = open_page("train", {"machine_open": True, "curves_open": True})
    page.button_group(key="curves_panels-True-True").set_value(["gpu_load", "gpu_memory"]).run()
    traces = {(trace["name"], trace["yaxis"]) for trace in spec(page)["data"]}
    assert {name for name, _ in traces} >= {"GPU 0", "GPU 1 MIG 0", "训练进程看到的显存"}
    titles = [note["text"] for note in spec(page)["layout"]["annotations"]]
    assert "GPU 利用率（%） · GPU 1 MIG 0：未报告" in titles
    shown = next(table.value for table in page.table if "GPU" in table.value).to_numpy().ravel().tolist()
    assert "55%" in shown
    assert shown.count("不报告") == 3
    assert "0%" not in shown
    said = texts(page)
    assert "训练进程可用 8 GB，整张卡 80 GB" in said
    assert "MIG 实例" in said
    page.button_group(key="curves_axis").set_value("time").run()
    assert "GPU 0" in {trace["name"] for trace in spec(page)["data"]}


def test_one_memory_reads_the_same_everywhere(workspace, finished_run, monkeypatch):
    """For a GPU with 8192 MiB: the setup page, the monitor, the refusal of a chat, the report."""
    card = {"index": 0, "instance": None, "slice": None, "name": "A100", "used_mb": 0, "total_mb": 8192,
            "utilisation": 1, "temperature": 40, "power_w": 50, "ours_mb": None}  # fmt: skip
    sampled(finished_run, gpus=[card], memory_total_mb=8192)
    monkeypatch.setattr(environment, "gpus", lambda: [card])
    monkeypatch.setattr(room, "gpus", lambda: [card])
    (check,) = [check for check in environment.checks(workspace.root) if check.name == "gpu"]
    assert check.value == "A100 8 GB"
    assert "0 B / 8 GB" in cells(lid(open_page("train"), "machine_open"))
    with pytest.raises(room.NoRoom) as refused:
        room.check_room(workspace, replace(models.find(workspace, "demo"), bytes=2**40))
    assert "only 8 GB of GPU memory free" in refused.value.text.en
    draft = Draft(workspace=workspace, run=finished_run, language="en", outline=Outline(), points=[])
    (written,) = preparation.environment(draft)
    assert "A100 (8 GB)" in written
    assert "| memory | 8 GB |" in written


def test_a_slice_that_vgpu_smi_tells_of(finished_run):
    sampled(finished_run, slices=[{"index": 0, "used_mb": 6234, "total_mb": 8182, "utilisation": 7, "share": 10}])
    page = open_page("train", {"machine_open": True, "curves_open": True})
    page.button_group(key="curves_panels-True-True").set_value(["gpu_memory"]).run()
    assert "显存 6.1 GB / 8 GB，算力上限 10%" in texts(page)
    assert "切片（vgpu-smi）" in {trace["name"] for trace in spec(page)["data"]}


def test_a_machine_without_a_gpu_says_what_it_cannot_say(finished_run):
    sampled(finished_run, gpus=[], cuda=None)
    page = open_page("train", {"machine_open": True, "curves_open": True})
    page.button_group(key="curves_panels-False-True").set_value(["cpu", "memory"]).run()
    assert "没有可用的 NVIDIA 显卡" in texts(page)
    assert {"整机", "训练进程"} <= {trace["name"] for trace in spec(page)["data"]}


@pytest.mark.usefixtures("failed_run")
def test_the_log_is_searched_when_asked():
    page = open_page("train")
    assert any("CUDA out of memory" in code.value for code in page.code[:1])
    page.text_input(key="log_words").set_value("evaluation AT")
    next(button for button in page.button if button.label == "查找").click().run()
    assert any("找到 2 行" in caption.value for caption in page.caption)
    page.text_input(key="log_words").set_value("没有*的*")
    next(button for button in page.button if button.label == "查找").click().run()
    assert any("没有找到" in caption.value for caption in page.caption)


def test_a_run_is_named_deleted_and_brought_back(workspace, finished_run):
    page = open_page("train")
    page.text_input(key=f"run_name-{finished_run.id}").set_value("第一次 *x*")
    next(button for button in page.button if button.label == "改名").click().run()
    assert page.selectbox(key="run").options[0].startswith("第一次 *x* · 第 1 次 · ")
    page.button(key=f"delete-{finished_run.id}").click().run()
    assert runs.every(workspace) == []
    assert "已移到回收站" in texts(page)
    page.button(key="undo_delete").click().run()
    assert page.selectbox(key="run").value == finished_run.id
    assert "已移到回收站" not in texts(page)
    page.button(key=f"delete-{finished_run.id}").click().run()
    page = lid(open_page("train"), "runs_open")
    page.button(key=f"restore-{finished_run.id}").click().run()
    assert [run.id for run in runs.every(workspace)] == [finished_run.id]
    page.button(key=f"delete-{finished_run.id}").click().run()
    page.button(key="empty_trash").click().run()
    assert "回收站是空的" in texts(page)
    assert not workspace.trash.exists()


def test_a_live_run_cannot_be_deleted(running_run):
    assert open_page("train").button(key=f"delete-{running_run.id}").disabled


def test_runs_side_by_side(workspace, config, finished_run, fake_engine):
    configs.change(workspace, config.name, {"lr": 0.001})
    fake_engine("ok", iters=8)
    other = runs.start(workspace, config.name)
    other.job.wait(PATIENCE)
    page = lid(open_page("train"), "runs_open")
    assert list(page.dataframe[0].value["迭代"]) == ["8 / 8", "12 / 12"]
    assert all(len(curve) > 3 for curve in page.dataframe[0].value["损失曲线"])
    page.multiselect(key="runs_compared").set_value([finished_run.id, other.id]).run()
    assert not page.exception
    chart = json.loads(page.get("plotly_chart")[1].proto.spec)
    names = page.selectbox(key="run").options[::-1]
    assert [trace["name"] for trace in chart["data"]] == names == list(page.dataframe[0].value["名称"])[::-1]
    assert r"0\.001" in cells(page)
    assert any("+lr = 0.001" in code.value for code in page.code)
    page.button(key=f"delete-{other.id}").click().run()
    assert not page.exception
    assert not page.multiselect


def test_a_run_that_waits_its_turn_shows_its_place_alone(workspace, config, running_run, fake_engine):
    fake_engine("ok")
    waiting = runs.start(workspace, config.name)
    page = open_page("train", run=waiting.id)
    assert "排队等待：第 1 位" in texts(page)
    assert not page.get("plotly_chart")
    assert page.button(key=f"delete-{waiting.id}").disabled
    assert not any(button.label == "停止并保存" for button in page.button)
    assert open_page("train", run=running_run.id).get("plotly_chart")


def test_a_run_that_ended_before_its_first_iteration(failed_run):
    for file in failed_run.work_dir.rglob("scalars.json"):
        file.unlink()
    # A last sample may arrive until the supervisor has ended.
    assert wait_until(lambda: not failed_run.job.pids["supervisor"].alive(), PATIENCE)
    failed_run.telemetry.unlink(missing_ok=True)
    assert any("第一次迭代之前" in info.value for info in open_page("train").info)


def test_a_config_from_elsewhere_is_not_started_before_it_was_agreed_to(workspace, config):
    exchange.take(workspace, "theirs.py", config.text() + "import os\n")
    page = open_page("train", config="theirs")
    page.button(key="start_training").click().run()
    assert any("来自别处" in error.value for error in page.error)
    assert runs.every(workspace) == []
