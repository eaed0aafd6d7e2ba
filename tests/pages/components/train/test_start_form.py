"""Starting a run on several GPUs or machines, and the queue, on the train page."""

import os
import time

import pytest

from core.chat.room import room
from core.engine.cluster import Cluster
from core.forecast import space
from core.ground.files import read_json, write_json
from core.jobs import slurm
from core.jobs.job import Status, wait_until
from core.models.model import Model
from core.training import run as runs
from tests.conftest import PATIENCE
from tests.pages.screen import cells, open_page, texts


def codes(page):
    return [code.value for code in page.code]


def test_one_process_needs_no_further_fields(workspace, config, fake_engine):
    assert config.name
    fake_engine("ok")
    page = open_page("train")
    assert not [field for field in page.text_input if field.key == "train_addr"]
    page.button(key="start_training").click().run()
    run = runs.find(workspace, "latest")
    assert (run.cluster.nproc, run.cluster.nnodes, run.facts.deepspeed) == (1, 1, None)


def test_what_each_setting_saves_is_shown(config):
    assert config.name
    page = open_page("train")
    page.number_input(key="train_nproc").set_value(2).run()
    page.selectbox(key="train_deepspeed").select("deepspeed_zero3_offload").run()
    shown = cells(page)
    for words in ("优化器状态、梯度、权重", "权重放到内存", "deepspeed\\_zero3\\_offload** :material/check:"):
        assert words in shown


def test_every_machine_has_its_command(workspace, config, fake_engine):
    fake_engine("ok")
    page = open_page("train")
    page.number_input(key="train_nnodes").set_value(2).run()
    page.text_input(key="train_addr").set_value("10.0.0.1").run()
    page.number_input(key="train_port").set_value(12345).run()
    page.selectbox(key="train_deepspeed").select("deepspeed_zero2").run()
    for rank in (0, 1):
        line = f"python -m core train start {config.name} --nproc 1 --nnodes 2 --node-rank {rank} --addr 10.0.0.1 --port 12345"
        assert any(code.startswith(line) for code in codes(page)), codes(page)
        assert any(f"NODE_RANK={rank} ADDR=10.0.0.1 PORT=12345 xtuner train" in code for code in codes(page))
    page.button(key="start_training").click().run()
    assert not page.error, page.error[0].value
    assert runs.find(workspace, "latest").cluster.addr == "10.0.0.1"


def test_an_address_that_cannot_be_is_refused_and_stays(workspace, config, fake_engine):
    assert config.name
    fake_engine("ok")
    page = open_page("train")
    page.number_input(key="train_nnodes").set_value(2).run()
    page.text_input(key="train_addr").set_value("not an address").run()
    assert any("地址" in error.value for error in page.error)
    page.button(key="start_training").click().run()
    assert page.text_input(key="train_addr").value == "not an address"
    assert runs.every(workspace) == []


def test_slurm_is_refused_where_it_is_not(workspace, config, monkeypatch, tmp_path):
    assert config.name
    monkeypatch.setenv("PATH", str(tmp_path))
    page = open_page("train")
    page.number_input(key="train_nproc").set_value(2).run()
    page.segmented_control(key="train_launcher").set_value("slurm").run()
    assert any(code.startswith("srun ") for code in codes(page))
    page.button(key="start_training").click().run()
    assert any("srun" in error.value for error in page.error)
    assert runs.every(workspace) == []


def test_a_batch_job_is_no_training_on_this_machine(workspace, config, small_model, monkeypatch, tmp_path):
    """With a Slurm that accepts everything, and lets it wait until it is cancelled."""
    (tmp_path / "bin").mkdir()
    over = tmp_path / "cancelled"
    state = f"test -e {over} && echo 'CANCELLED|None|lab|' || echo 'PENDING|Priority|lab|'"
    for name, script in {"srun": "", "scancel": f"touch {over}", "sbatch": "echo 7", "squeue": state}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setattr(slurm, "_LAG_SECONDS", 0.0)
    monkeypatch.setattr(slurm, "SILENT_SECONDS", PATIENCE)
    run = runs.start(workspace, config.name, cluster=Cluster(launcher="slurm", batch=True))
    assert runs.running(workspace) == run
    assert runs.running_here(workspace) is None
    assert room(workspace, small_model, "cpu").training is None
    file = run.job.directory / slurm.FILE
    known = read_json(file)
    write_json(file, {**known, "id": None, "silent_since": time.time(), "asked": time.time()})
    assert "可能已经提交" in texts(open_page("train", run=run.id))
    write_json(file, known)
    page = open_page("train", {"start_open": True}, run=run.id)
    assert "Slurm 任务 7" in texts(page)
    assert page.button(key="start_training").label == "开始训练"
    page.segmented_control(key="train_launcher").set_value("slurm").run()
    page.number_input(key="train_nnodes").set_value(2).run()
    page.button(key="start_training").click().run()
    assert not page.error, page.error[0].value
    assert runs.find(workspace, "latest").cluster.nnodes == 2
    assert ["已提交给 Slurm：在它的队列里等待。"] == [toast.value for toast in page.toast]


def test_too_little_disk_is_said_with_figures(workspace, config, monkeypatch):
    assert config.name
    monkeypatch.setattr(space, "free_bytes", lambda _: 1_000_000)
    page = open_page("train")
    page.button(key="start_training").click().run()
    assert any("MB" in error.value and "save" in error.value for error in page.error)
    assert runs.every(workspace) == []


@pytest.mark.usefixtures("running_run")
def test_the_queue_is_put_in_order_and_left(workspace, config, running_run, fake_engine):
    fake_engine("ok")
    waiting = [runs.start(workspace, config.name) for _ in range(2)]
    page = open_page("train", run=running_run.id)
    assert "排队中的训练" in texts(page)
    assert page.button(key=f"queue-up-{waiting[0].id}").disabled
    assert page.button(key=f"queue-down-{waiting[1].id}").disabled
    page.button(key=f"queue-up-{waiting[1].id}").click().run()
    assert runs.queued(workspace) == waiting[::-1]
    page.button(key=f"queue-cancel-{waiting[0].id}").click().run()
    assert waiting[0].job.wait(PATIENCE) is Status.KILLED
    running_run.stop(discard=True)
    assert waiting[1].job.wait(PATIENCE) is Status.FINISHED
    assert "排队中的训练" not in texts(open_page("train"))


def test_a_click_on_what_has_its_turn_by_now(workspace, config, running_run, fake_engine):
    fake_engine("slow")
    waiting = runs.start(workspace, config.name)
    other = runs.start(workspace, config.name)
    page = open_page("train", run=running_run.id)
    running_run.stop(discard=True)
    assert wait_until(lambda: waiting.state_at(None).status is Status.RUNNING, PATIENCE)
    page.button(key=f"queue-down-{waiting.id}").click().run()
    assert any("不在排队" in error.value for error in page.error)
    other.stop()


def test_early_stop_is_asked_for_and_told(workspace, config, fake_engine):
    fake_engine("ok", iters=44)
    page = open_page("train")
    page.toggle(key=f"train_early_stop-{config.name}").set_value(True).run()
    page.button(key="start_training").click().run()
    run = runs.find(workspace, "latest")
    assert wait_until(lambda: not run.state().status.live, PATIENCE)
    page = open_page("train")
    assert not page.exception
    (said,) = [box.value for box in page.success]
    assert said == "第 16 次迭代后提前停止：身份学会了，原来会的也还在。省了 28 次迭代，约 0 秒"
    assert config.name == run.facts.config.name


def test_what_the_base_would_say_is_kept_where_the_data_hold_it(workspace, config, fake_engine, monkeypatch):
    fake_engine("ok", iters=4)
    toggle = f"train_keep-{config.name}"
    # A toy knows nothing worth preserving.
    assert not open_page("train").toggle(key=toggle).value
    meta = workspace.datasets / config.dataset / "dataset.json"
    meta.write_text(
        meta.read_text(encoding="utf-8").replace('"nickname"', f'"replay_model": "{config.model}", "nickname"'),
        encoding="utf-8",
    )
    monkeypatch.setattr(Model, "toy", property(lambda _: False))
    page = open_page("train")
    assert page.toggle(key=toggle).value
    page.button(key="start_training").click().run()
    assert runs.find(workspace, "latest").facts.keep
    # Nor if it is switched off.
    page = open_page("train", {"start_open": True})
    page.toggle(key=toggle).set_value(False).run()
    page.button(key="start_training").click().run()
    newest, before = runs.every(workspace)[:2]
    assert (newest.facts.keep, before.facts.keep) == (False, True)
    for run in (before, newest):
        assert wait_until(lambda run=run: not run.state().status.live, PATIENCE)


def test_early_stop_without_a_nickname_is_refused_in_words(workspace, config, fake_engine):
    fake_engine("ok")
    meta = workspace.datasets / config.dataset / "dataset.json"
    meta.write_text(meta.read_text(encoding="utf-8").replace('"nickname"', '"no_name"'), encoding="utf-8")
    page = open_page("train")
    page.toggle(key=f"train_early_stop-{config.name}").set_value(True).run()
    page.button(key="start_training").click().run()
    assert any("昵称" in box.value for box in page.error)
    assert page.toggle(key=f"train_early_stop-{config.name}").value
    assert runs.every(workspace) == []


def test_an_early_stop_that_brings_nothing_back_says_so(workspace, config, fake_engine, monkeypatch):
    monkeypatch.setattr(Model, "toy", property(lambda _: False))
    fake_engine("forgets", iters=44)
    run = runs.start(workspace, config.name, early_stop=True)
    assert wait_until(lambda: not run.state().status.live, PATIENCE)
    page = open_page("train")
    assert any(box.value.startswith("第 16 次迭代后提前停止：身份学会了，但其他回答变了") for box in page.info)


def test_an_early_stop_that_was_not_enough_says_so(workspace, config, fake_engine):
    # One check, a good one; two are required.
    fake_engine("ok", iters=8)
    run = runs.start(workspace, config.name, early_stop=True)
    assert wait_until(lambda: not run.state().status.live, PATIENCE)
    page = open_page("train")
    assert any("身份 100%，其他回答保持 100%。 没有达到" in caption.value for caption in page.caption)
