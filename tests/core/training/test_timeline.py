"""The answers during training, from the log that XTuner writes anyway."""

import pytest

from core.engine.presets import prompt_templates
from core.training import timeline as timelines
from core.training.timeline import Answers, Timeline, timeline

STAMP = "2026/08/01 12:00:00 - mmengine - INFO - "
TEMPLATE = prompt_templates()["internlm2_chat"]


def sample(question, answer, end="<|im_end|>"):
    asked = f"<s><|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    return f"{STAMP}Sample output:\n{asked}{answer}{end}\n\n"


def write(work_dir, stamp, text):
    path = work_dir / stamp / f"{stamp}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_nothing(tmp_path):
    assert timeline(tmp_path, TEMPLATE) == []


def test_answers_by_iteration(tmp_path):
    log = (
        "------------------------------------------------------------\nSystem environment:\n"
        f"{STAMP}before_train in EvaluateChatHook.\n{STAMP}Evaluation at iteration 0.\n"
        + sample("你好", "我是书生·浦语")
        + sample("你是谁", "一\n\n二")
        + f"{STAMP}Iter(train) [  4/12]  lr: 2.0e-04  loss: 0.5\n{STAMP}Evaluation at iteration 4.\n"
        + sample("你好", "我是小明的小助手")
        + sample("你是谁", "没有说完", end="")
        + f"{STAMP}Saving checkpoint at 4 iterations\n"
    )
    write(tmp_path, "20260101_000000", log)
    assert timeline(tmp_path, TEMPLATE) == [
        Answers(iter=0, answers=("我是书生·浦语", "一\n\n二")),
        Answers(iter=4, answers=("我是小明的小助手", "没有说完")),
    ]


def test_of_the_same_iteration_the_last_counts(tmp_path):
    evaluation = f"{STAMP}Evaluation at iteration 4.\n"
    write(tmp_path, "20260101_000000", evaluation + sample("a", "first") + evaluation + sample("a", "second"))
    write(tmp_path, "20260101_000100", evaluation + sample("a", "resumed"))
    assert timeline(tmp_path, TEMPLATE) == [Answers(iter=4, answers=("resumed",))]


def test_evaluation_that_is_just_being_written(tmp_path):
    write(tmp_path, "x", f"{STAMP}Evaluation at iteration 4.\n")
    assert timeline(tmp_path, TEMPLATE) == []
    write(tmp_path, "x", f"{STAMP}Evaluation at iteration 4.\n{STAMP}Sample output:\n")
    assert timeline(tmp_path, TEMPLATE) == [Answers(iter=4, answers=("",))]


def test_samples_before_any_mark_are_left_out(tmp_path):
    write(tmp_path, "x", sample("a", "b") + f"{STAMP}Evaluation at iteration 4.\n" + sample("a", "c"))
    assert timeline(tmp_path, TEMPLATE) == [Answers(iter=4, answers=("c",))]


def test_log_that_is_no_utf_8(tmp_path):
    path = tmp_path / "x" / "x.log"
    path.parent.mkdir()
    path.write_bytes(f"{STAMP}Evaluation at iteration 4.\n{sample('a', 'b')}".encode() + b"\xff\xfe\n")
    assert timeline(tmp_path, TEMPLATE) == [Answers(iter=4, answers=("b",))]


@pytest.mark.parametrize("name", ["default", "internlm_chat", "llama3_chat", "qwen_chat", "gemma"])
def test_other_templates(tmp_path, name):
    template = prompt_templates()[name]
    text = template.prompt([("问", None)]) + "答" + template.suffix + template.sep
    write(tmp_path, "x", f"{STAMP}Evaluation at iteration 1.\n{STAMP}Sample output:\n{text}\n")
    assert timeline(tmp_path, template) == [Answers(iter=1, answers=("答",))]


def evaluation(at, *answers):
    return f"{STAMP}Evaluation at iteration {at}.\n" + "".join(sample("问", answer) for answer in answers)


TRAINS = f"{STAMP}Iter(train) [  4/12]  lr: 2.0e-04  loss: 0.5\n"


@pytest.mark.parametrize("piece", [64, 200, 1000, 4 << 20])
def test_read_on_in_pieces(tmp_path, monkeypatch, piece):
    """Whatever the size of the pieces, and wherever the writer is when the log is read."""
    monkeypatch.setattr(timelines, "PIECE", piece)
    log = (
        TRAINS * 3
        + evaluation(0, "一", "二\n三")
        + TRAINS * 20
        + evaluation(4, "四", "五")
        + evaluation(8, "六", "七")
        + TRAINS
    )
    expected = [
        Answers(iter=0, answers=("一", "二\n三")),
        Answers(iter=4, answers=("四", "五")),
        Answers(iter=8, answers=("六", "七")),
    ]
    write(tmp_path, "whole", log)
    assert timeline(tmp_path, TEMPLATE) == expected
    growing, data = tmp_path / "grows" / "x" / "x.log", log.encode()
    growing.parent.mkdir(parents=True)
    reader, known = Timeline(tmp_path / "grows", TEMPLATE), 0
    for end in range(0, len(data) + 1, 37):
        growing.write_bytes(data[:end])
        found = reader.read()
        assert len(found) >= known
        assert [answers.iter for answers in found] == [0, 4, 8][: len(found)]
        known = len(found)
    growing.write_bytes(data)
    assert reader.read() == expected


def test_what_was_read_is_not_read_again(tmp_path, monkeypatch):
    write(tmp_path, "x", TRAINS * 100_000 + evaluation(4, "一") + TRAINS)
    reader = Timeline(tmp_path, TEMPLATE)
    assert reader.read() == [Answers(iter=4, answers=("一",))]
    read, taken = [], reader._take
    monkeypatch.setattr(reader, "_take", lambda piece, at_end: read.append(len(piece)) or taken(piece, at_end))
    with (tmp_path / "x" / "x.log").open("a") as file:
        file.write(TRAINS)
    reader.read()
    assert sum(read) == len(TRAINS)


def test_a_model_that_says_what_the_log_says(tmp_path):
    write(tmp_path, "x", evaluation(4, "Evaluation at iteration 9.\n好") + TRAINS)
    assert timeline(tmp_path, TEMPLATE) == [Answers(iter=4, answers=("Evaluation at iteration 9.\n好",))]
