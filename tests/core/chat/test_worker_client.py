"""Both sides are asked through a worker that is found again; a fake one that speaks the protocol and loads no model."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.chat import room, scoring, worker_client
from core.chat.worker_client import Ask, Sampling
from core.engine.presets import PromptTemplate
from core.ground.errors import BadInput, WorkFailed
from core.ground.files import write_json
from core.jobs.job import Status, jobs_in
from core.models import model as models
from core.models import trust
from tests.conftest import of_model, swap_code
from tests.fakes.model import write_model


@pytest.fixture
def chat(monkeypatch):
    """Chat workers are replaced by `tests/fakes/chat_worker.py`."""
    monkeypatch.setattr(
        worker_client,
        "engine_command",
        lambda _workspace, _module, *words: [sys.executable, "-m", "tests.fakes.chat_worker", *map(str, words)],
    )


@pytest.fixture
def worker(workspace, exported_run, chat):  # noqa: ARG001
    return worker_client.worker_for(workspace, exported_run).wait_ready()


def ask(side, question):
    return Ask(side=side, turns=[(question, None)])


def test_answers_in_the_order_asked(worker):
    lines = worker.ask([ask("base", "你好"), ask("tuned", "你是谁")], Sampling(max_new_tokens=8))
    prompt = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    assert [line["answer"] for line in lines] == [f"base: {prompt.format('你好')}", f"tuned: {prompt.format('你是谁')}"]
    assert set(lines[0]) == {"prompt", "answer", "tokens", "ttft_ms", "tokens_per_s"}
    assert worker.ask([]) == []


def test_the_base_is_asked_by_its_own_prompt_and_the_run_by_that_of_its_training(workspace, exported_run, chat):  # noqa: ARG001
    trained = PromptTemplate(instruction="Q: {input}\nA:", suffix="<e>", stop_words=("<e>",), suffix_as_eos=True)
    run = replace(exported_run, facts=replace(exported_run.facts, template=trained))
    worker = worker_client.worker_for(workspace, run)
    base, tuned = worker._row(ask("base", "{}")), worker._row(ask("tuned", "{}"))
    assert base["prompt"] == "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    assert (tuned["prompt"], tuned["stop_words"]) == ("Q: {}\nA:", ["<e>"])
    assert base["stop_words"] == ["<|im_end|>"]
    assert worker.prompt(ask("tuned", "你好")) == "Q: 你好\nA:"


def test_stream(worker):
    lines = list(worker.stream([ask("base", "a"), ask("tuned", "b")]))
    assert [(line["row"], "text" in line) for line in lines] == [(0, True), (0, False), (1, True), (1, False)]


def test_found_again(worker, workspace, exported_run):
    assert worker_client.worker_for(workspace, exported_run).job == worker.job
    assert worker_client.stop_all(workspace) == 1
    assert worker.job.status() is Status.KILLED
    assert worker_client.stop_all(workspace) == 0


def test_found_again_in_a_workspace_that_was_moved(worker, workspace, exported_run):
    moved = of_model(exported_run, path="/another/place/models/demo")
    assert worker_client.worker_for(workspace, moved).job == worker.job
    assert worker_client.worker_there(workspace, moved).job == worker.job


def test_another_adapter_of_the_same_base_takes_the_same_worker(worker, workspace, exported_run):
    write_json(exported_run.adapter / "export.json", {"made": 1.0, "checkpoint": "iter_4.pth"})
    assert worker_client.worker_for(workspace, exported_run).job == worker.job


def test_what_a_score_uses_is_its_own_while_it_lives(workspace, exported_run, chat, monkeypatch):  # noqa: ARG001
    score = worker_client.worker_for(workspace, exported_run, own=True).wait_ready()
    assert worker_client.worker_there(workspace, exported_run) is None
    trust.agree(workspace, write_model(workspace.model("other")))
    for more in ({"run": exported_run}, {"model": "other"}, {"run": exported_run, "own": True}):
        with pytest.raises(BadInput):
            worker_client.worker_for(workspace, **more)
    assert score.job.status().live
    # After it was killed, it owns nothing.
    monkeypatch.setattr(worker_client, "_owned", lambda _job: False)
    assert worker_client.worker_there(workspace, exported_run).job == score.job


def test_a_score_loads_the_agreed_copy_of_a_model_s_code_and_refuses_one_that_was_swapped(
    workspace, exported_run, owners, chat  # noqa: ARG001
):  # fmt: skip
    agreed = {file.name: file.read_bytes() for file in owners.glob("*.py")}
    worker = worker_client.worker_for(workspace, exported_run, own=True)
    # Between the check and the load.
    swap_code(owners)
    argv = worker.job.spec["argv"]
    loaded = Path(argv[argv.index("--base") + 1]).resolve()
    assert workspace.root / "agreed" in loaded.parents
    assert {file.name: file.read_bytes() for file in loaded.glob("*.py")} == agreed
    worker.stop()
    before = jobs_in(workspace.jobs, "chat")
    with pytest.raises(BadInput, match=f"models trust {exported_run.facts.model.name}"):
        scoring.score_now(workspace, exported_run, scoring.sides_to_score(exported_run))
    assert jobs_in(workspace.jobs, "chat") == before, "nothing is started with it"


def test_another_base_takes_another_worker(worker, workspace, exported_run):
    trust.agree(workspace, write_model(workspace.model("other")))
    other = worker_client.worker_for(workspace, model="other")
    assert other.job != worker.job
    assert worker.job.status() is Status.KILLED
    assert worker_client.worker_there(workspace, exported_run) is None


def test_error_of_the_worker_leaves_it_alive(worker):
    with pytest.raises(WorkFailed) as failed:
        worker.ask([ask("base", "fail")])
    assert "RuntimeError: as asked" in str(failed.value)
    assert worker.ask([ask("base", "again")])


def test_worker_that_dies(worker):
    with pytest.raises(WorkFailed) as failed:
        worker.ask([ask("base", "die")])
    assert "log.txt" in str(failed.value)
    with pytest.raises(WorkFailed):
        list(worker.stream([ask("base", "a")]))


def test_worker_that_does_not_load(workspace, exported_run, monkeypatch):
    monkeypatch.setattr(
        worker_client, "engine_command", lambda *_: [sys.executable, "-c", "raise ValueError('no model')"]
    )
    with pytest.raises(WorkFailed) as failed:
        worker_client.worker_for(workspace, exported_run).wait_ready()
    assert "no model" in str(failed.value)


def test_a_row_names_what_answers_it(worker, exported_run):
    rows = [worker._row(ask(side, "x")) for side in ("base", "tuned", "iter_4", "merged")]
    assert [row["adapter"] for row in rows] == [
        None,
        str(exported_run.adapter),
        str(exported_run.checkpoint("iter_4").path),
        None,
    ]
    assert [row["model"] for row in rows] == [None, None, None, str(exported_run.merged)]


def test_a_run_that_is_not_exported_is_asked_through_its_last_checkpoint(workspace, finished_run, chat):  # noqa: ARG001
    worker = worker_client.worker_for(workspace, finished_run).wait_ready()
    assert list(worker.sides) == ["base", "tuned", "iter_4", "iter_8"]
    assert worker.sides["tuned"].adapter == finished_run.checkpoint("iter_12").path


def test_waiting_behind_others_is_told(worker):
    lines = list(worker.stream([ask("base", "queue")]))
    assert lines[0] == {"queued": 2}
    assert worker.ask([ask("base", "queue")])[0]["answer"].endswith("assistant\n")


def test_no_room_is_refused_with_what_to_do(workspace, exported_run, monkeypatch):
    monkeypatch.setattr(room.psutil, "virtual_memory", lambda: SimpleNamespace(available=5e8))
    with pytest.raises(room.NoRoom) as refused:
        worker_client.worker_for(workspace, exported_run)
    assert "476.8 MB" in refused.value.text.en
    assert "close other programs" in refused.value.text.en
    assert not jobs_in(workspace.jobs, "chat")


def test_beside_a_training_its_next_step_must_have_room_too(workspace, running_run, monkeypatch):
    model = models.find(workspace, "demo")
    quiet = room._BESIDE["cpu"] + 1.15 * model.bytes
    monkeypatch.setattr(room.psutil, "virtual_memory", lambda: SimpleNamespace(available=quiet + 1e8))
    with pytest.raises(room.NoRoom) as refused:
        room.check_room(workspace, model)
    assert running_run.id in refused.value.text.zh
    assert "等它结束" in refused.value.text.zh
    monkeypatch.setattr(room.psutil, "virtual_memory", lambda: SimpleNamespace(available=quiet + 1e9))
    assert room.check_room(workspace, model).training == running_run.id


def test_on_a_gpu_the_card_counts_and_the_cpu_is_offered(workspace, small_model, monkeypatch):
    monkeypatch.setattr(room, "gpus", lambda: [{"total_mb": 8192, "used_mb": 8000}])
    with pytest.raises(room.NoRoom) as refused:
        room.check_room(workspace, small_model)
    assert "CPU" in refused.value.text.zh
    assert room.check_room(workspace, small_model, "cpu").device == "cpu"
    monkeypatch.setattr(room, "gpus", lambda: [{"total_mb": 8192, "used_mb": None}])
    assert room.check_room(workspace, small_model).fits, "the worker looks itself"


def test_a_worker_that_saw_no_room_says_so(workspace, exported_run, monkeypatch):
    code = "import sys; sys.exit('NO ROOM: the models take 4.4 GB and 1.2 GB are free.')"
    monkeypatch.setattr(worker_client, "engine_command", lambda *_: [sys.executable, "-c", code])
    with pytest.raises(room.NoRoom) as refused:
        worker_client.worker_for(workspace, exported_run).wait_ready()
    assert "1.2 GB" in refused.value.text.zh


def test_nothing_to_chat_with(workspace, finished_run):
    with pytest.raises(BadInput):
        worker_client.worker_for(workspace)
    shutil.rmtree(finished_run.work_dir)
    with pytest.raises(BadInput) as refused:
        worker_client.worker_for(workspace, finished_run)
    assert finished_run.id in str(refused.value)
    with pytest.raises(BadInput):
        worker_client.worker_for(workspace, model="nothing")
