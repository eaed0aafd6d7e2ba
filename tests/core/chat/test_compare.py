"""Both sides are asked through a worker that is found again; here one that speaks the protocol and loads no model."""

import sys

import pytest

from core.chat import compare
from core.chat.compare import Ask, Sampling
from core.ground.errors import BadInput, WorkFailed
from core.ground.files import write_json
from core.jobs.job import Status


@pytest.fixture
def chat(monkeypatch):
    """Chat workers are those of `tests/fakes/chat_worker.py`."""
    monkeypatch.setattr(
        compare,
        "engine_command",
        lambda _workspace, _module, *words: [sys.executable, "-m", "tests.fakes.chat_worker", *map(str, words)],
    )


@pytest.fixture
def worker(workspace, exported_run, chat):  # noqa: ARG001
    return compare.worker_for(workspace, exported_run).wait_ready()


def ask(side, question):
    return Ask(side=side, turns=[(question, None)])


def test_answers_in_the_order_asked(worker):
    lines = worker.ask([ask("base", "你好"), ask("tuned", "你是谁")], Sampling(max_new_tokens=8))
    prompt = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    assert [line["answer"] for line in lines] == [f"base: {prompt.format('你好')}", f"tuned: {prompt.format('你是谁')}"]
    assert set(lines[0]) == {"answer", "tokens", "ttft_ms", "tokens_per_s"}
    assert worker.ask([]) == []


def test_stream(worker):
    lines = list(worker.stream([ask("base", "a"), ask("tuned", "b")]))
    assert [(line["row"], "text" in line) for line in lines] == [(0, True), (0, False), (1, True), (1, False)]


def test_found_again(worker, workspace, exported_run):
    assert compare.worker_for(workspace, exported_run).job == worker.job
    assert compare.stop_all(workspace) == 1
    assert worker.job.status() is Status.KILLED
    assert compare.stop_all(workspace) == 0


def test_another_adapter_takes_another_worker(worker, workspace, exported_run):
    write_json(exported_run.adapter / "export.json", {"made": 1.0})
    other = compare.worker_for(workspace, exported_run)
    assert other.job != worker.job
    assert worker.job.status() is Status.KILLED


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
    monkeypatch.setattr(compare, "engine_command", lambda *_: [sys.executable, "-c", "raise ValueError('no model')"])
    with pytest.raises(WorkFailed) as failed:
        compare.worker_for(workspace, exported_run).wait_ready()
    assert "no model" in str(failed.value)


def test_nothing_to_chat_with(workspace, finished_run):
    with pytest.raises(BadInput):
        compare.worker_for(workspace)
    with pytest.raises(BadInput) as refused:
        compare.worker_for(workspace, finished_run)
    assert finished_run.id in str(refused.value)
    with pytest.raises(BadInput):
        compare.worker_for(workspace, model="nothing")
