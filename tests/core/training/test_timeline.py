"""The answers on the way, from the log that XTuner writes anyway."""

import pytest

from core.engine.presets import prompt_templates
from core.training.timeline import Answers, timeline

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
