"""XTuner's evaluations: its own hook asks all questions at once, and never twice for the same weights."""

from types import SimpleNamespace

import pytest

from core.engine.workers import evaluation
from core.engine.workers.asking import SPARE, Said
from tests.core.engine.workers.test_asking import Numbers


@pytest.fixture
def hook(monkeypatch):
    """An EvaluateChatHook with two questions, whose `asked` records what was asked, and a runner for it."""
    from xtuner.engine import hooks

    kind = hooks.EvaluateChatHook
    for name in ("__init__", "_eval_language", "_generate_samples", "after_train_iter"):
        monkeypatch.setattr(kind, name, getattr(kind, name))
    monkeypatch.setattr(kind, "owes", False, raising=False)
    asked, taught = [], {}

    class Asking:
        def __init__(self, _runner, _tokenizer, words):
            self.words = words

        def ask(self, prompts, most, **how):
            asked.append((prompts, most, how["base"], self.words))
            return [Said([7, 2], "7") for _ in prompts]

        def taught(self, prompt):
            return taught.get(prompt, 0)

    monkeypatch.setattr(evaluation, "Asking", Asking)
    monkeypatch.setattr(evaluation, "stop_asked", lambda: False)
    evaluation.mark_evaluations()
    evaluation.ask_together()
    log: list[str] = []
    llm = SimpleNamespace(
        is_gradient_checkpointing=False, config=SimpleNamespace(use_cache=False), parameters=list, modules=list
    )
    model = SimpleNamespace(
        llm=llm, parameters=lambda: iter([SimpleNamespace(device="cpu")]), to=lambda _: None, eval=lambda: None,
        train=lambda: None, activation_checkpointing_disable=lambda: None,
    )  # fmt: skip
    runner = SimpleNamespace(
        model=model, iter=0, max_iters=10, world_size=1, cfg={}, logger=SimpleNamespace(info=log.append), hooks=[],
        train_loop=SimpleNamespace(stop_training=False), asked=asked, taught=taught, log=log, _load_from=None,
    )  # fmt: skip

    def make(**more):
        settings = {"evaluation_inputs": ["3 4", "5"], "stop_words": ["9"], "system": "", "every_n_iters": 5}
        made = kind(tokenizer={"type": Numbers}, prompt_template={"INSTRUCTION": "1 {input}"}, **settings, **more)
        return made, runner

    return make


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
class TestEvaluation:
    def test_all_at_once_and_told_with_the_iteration(self, hook):
        made, runner = hook()
        made.before_train(runner)
        assert runner.asked == [(["1 3 4", "1 5"], 50, True, ["9"])]
        assert runner.log[1:] == [
            "Evaluation at iteration 0.",
            "Sample output:\n1 3 4 7 2\n",
            "Sample output:\n1 5 7 2\n",
        ]

    def test_what_was_trained_before_is_asked_as_it_is_before_training(self, hook):
        """An adapter that goes on, or weights from a checkpoint: not the base model's answers, and at once."""
        import torch

        made, runner = hook()
        runner._load_from = "iter_8.pth"
        made.before_train(runner)
        layer = SimpleNamespace(lora_A={"default": None}, lora_B={"default": SimpleNamespace(weight=torch.ones(2))})
        made, runner = hook()
        runner.model.llm.disable_adapter, runner.model.llm.modules = None, lambda: [layer]
        made.before_train(runner)
        assert runner.asked == [(["1 3 4", "1 5"], 50, False, ["9"])] * 2

    def test_with_an_adapter_the_base_is_asked_after_the_first_iteration(self, hook):
        made, runner = hook()
        runner.model.llm.disable_adapter = None
        made.before_train(runner)
        assert runner.asked == []
        assert not any("Evaluation" in line for line in runner.log)
        for runner.iter in range(5):
            made.after_train_iter(runner, runner.iter)
        base, learned = runner.asked
        assert base == (["1 3 4", "1 5"], 50, True, ["9"])
        assert learned == (["1 3 4", "1 5"], 600, False, ["9"])
        assert [line for line in runner.log if "Evaluation" in line] == [
            "Evaluation at iteration 0.",
            "Evaluation at iteration 5.",
        ]

    def test_a_resumed_training_is_asked_as_it_is(self, hook):
        made, runner = hook()
        runner.model.llm.disable_adapter = None
        runner.iter = 4
        made.before_train(runner)
        assert runner.asked == [(["1 3 4", "1 5"], 50, False, ["9"])]
        assert "Evaluation at iteration 4." in runner.log

    def test_a_single_iteration_is_asked_before_and_after(self, hook):
        made, runner = hook()
        runner.model.llm.disable_adapter, runner.max_iters = None, 1
        made.before_train(runner)
        made.after_train_iter(runner, 0)
        runner.iter = 1
        made.after_train(runner)
        assert [(most, base) for _, most, base, _ in runner.asked] == [(50, True), (600, False)]

    def test_no_state_of_the_weights_twice(self, hook):
        made, runner = hook()
        runner.iter = 9
        made.after_train_iter(runner, 9)
        runner.iter = 10
        made.after_train(runner)
        assert [most for _, most, *_ in runner.asked] == [600]
        assert runner.log.count("Evaluation at iteration 10.") == 2
        assert sum(line.startswith("Sample") for line in runner.log) == 4
        assert not runner.asked[0][2], "of a trained model nothing is kept"

    def test_no_longer_than_what_is_taught(self, hook):
        made, runner = hook()
        runner.taught |= {"1 3 4": 20, "1 5": 9}
        made.before_train(runner)
        runner.iter = 4
        made.after_train_iter(runner, 4)
        del runner.taught["1 5"]
        runner.iter = 9
        made.after_train_iter(runner, 9)
        # Of the base model everything, and of a question that the data do not have.
        assert [most for _, most, *_ in runner.asked] == [50, 20 + SPARE, 600]

    def test_the_next_state_is_asked(self, hook):
        made, runner = hook()
        for runner.iter in (4, 9):
            made.after_train_iter(runner, runner.iter)
        assert len(runner.asked) == 2

    def test_who_gives_his_own_settings_is_served_by_xtuner(self, hook):
        made, runner = hook(generation_kwargs={"num_beams": 2})
        runner.model.generate = lambda **options: [[1, 8]] if options["max_new_tokens"] == 50 else None
        made.before_train(runner)
        assert runner.asked == []
        assert [line for line in runner.log if "Sample" in line] == ["Sample output:\n1 8\n"] * 2

    def test_given_up_for_a_wish_to_stop(self, hook, monkeypatch):
        made, runner = hook()

        def ask(*_, check, **__):
            monkeypatch.setattr(evaluation, "stop_asked", lambda: True)
            check()

        monkeypatch.setattr(evaluation.Asking, "ask", ask)
        made.before_train(runner)
        assert runner.log[-1] == "Evaluation abandoned: a stop was requested."
