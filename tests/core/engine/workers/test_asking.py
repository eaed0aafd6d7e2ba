"""The model in training is asked in one batch: the same answers as one by one, base answers cached, nothing changed."""

import contextlib
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaForCausalLM

from core.engine.workers import asking as module
from core.engine.workers.asking import Asking
from tests.core.engine.workers.tiny import llama

PROMPTS = ["1 5 9 3 7", "1 40", "1 8 8 30 3 17 4 33 21"]
MOST = 12


class Numbers:
    """A tokenizer whose words are the numbers of the tokens."""

    eos_token_id, pad_token_id, bos_token_id, bos_token, chat_template = 2, 2, None, None, None

    def __call__(self, text, **_):
        return SimpleNamespace(input_ids=[int(word) for word in text.split()])

    def encode(self, text, **_):
        return self(text).input_ids

    def decode(self, ids, **_):
        return " ".join(map(str, ids))


class Trained(torch.nn.Module):
    """Holds the language model like XTuner's model."""

    def __init__(self, llm: LlamaForCausalLM) -> None:
        super().__init__()
        self.llm = llm

    def activation_checkpointing_disable(self):
        self.llm.gradient_checkpointing_disable()

    def activation_checkpointing_enable(self):
        self.llm.gradient_checkpointing_enable()


@pytest.fixture
def runner():
    model = Trained(llama()).train()
    model.activation_checkpointing_enable()
    return SimpleNamespace(model=model, optim_wrapper=None, world_size=1)


def alone(prompt, ends=(2,), most=MOST):
    """Return the answer computed by plain forward passes."""
    model, ids, said = llama(), [int(word) for word in prompt.split()], []
    while len(said) < most and not (said and said[-1] in ends):
        with torch.no_grad():
            said.append(int(model(torch.tensor([[*ids, *said]])).logits[0, -1].argmax()))
    return said


@contextlib.contextmanager
def passes(runner):
    """Count the passes through the model."""
    read = []
    hook = runner.model.llm.get_decoder().register_forward_pre_hook(lambda *_: read.append(1))
    try:
        yield read
    finally:
        hook.remove()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
class TestAsking:
    def test_together_as_one_by_one(self, runner):
        said = Asking(runner, Numbers(), []).ask(PROMPTS, MOST)
        assert [one.ids for one in said] == [alone(prompt) for prompt in PROMPTS]
        # Ready to continue training.
        assert runner.model.training
        assert runner.model.llm.is_gradient_checkpointing

    def test_each_ends_at_its_own_stop(self, runner):
        stop = alone(PROMPTS[1])[3]
        said = Asking(runner, Numbers(), [str(stop)]).ask(PROMPTS, MOST)
        expected = [alone(prompt, ends=(2, stop)) for prompt in PROMPTS]
        assert len({len(ids) for ids in expected}) > 1
        assert [one.ids for one in said] == expected
        assert said[1].text == " ".join(map(str, expected[1][:-1]))

    def test_a_stop_of_several_tokens(self, runner):
        one, two = alone(PROMPTS[1])[2:4]
        said = Asking(runner, Numbers(), [f"{one} {two}"]).ask(PROMPTS, MOST)
        assert said[1].ids == alone(PROMPTS[1])[:4]
        assert said[1].text == " ".join(map(str, alone(PROMPTS[1])[:2]))
        assert len(said[0].ids) == len(alone(PROMPTS[0]))

    def test_no_further_than_enough(self, runner):
        said = Asking(runner, Numbers(), []).ask(PROMPTS, MOST, enough=lambda text: len(text.split()) >= 3)
        assert [one.ids for one in said] == [alone(prompt)[:3] for prompt in PROMPTS]

    def test_who_asks_may_break_it_off(self, runner):
        def check():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Asking(runner, Numbers(), []).ask(PROMPTS, MOST, check=check)
        assert runner.model.training

    def test_the_base_is_asked_once(self, runner, monkeypatch, tmp_path):
        monkeypatch.setattr(module, "KEPT", str(tmp_path / "kept.json"))
        first = Asking(runner, Numbers(), []).ask(PROMPTS[:2], MOST, base=True)
        again = Asking(runner, Numbers(), [])
        asked = []
        generate = again._generate

        def counted(pairs, *arguments, **options):
            asked.append([prompt for prompt, _ in pairs])
            return generate(pairs, *arguments, **options)

        monkeypatch.setattr(again, "_generate", counted)
        assert again.ask(PROMPTS[:2], MOST, base=True) == first
        assert asked == []
        again.ask(PROMPTS, MOST, base=True)
        assert asked == [PROMPTS[2:]]
        # What is being trained changes with every step, and so may the answers.
        again.ask(PROMPTS[:1], MOST)
        again.ask(PROMPTS[:1], 3, base=True)
        assert asked[1:] == [PROMPTS[:1]] * 2
        # With several processes, none reads a file that another may just have written.
        runner.world_size = 2
        assert Asking(runner, Numbers(), []).kept.known == {}

    @pytest.mark.parametrize("drafted", [True, False])
    def test_what_is_said_again_is_read_and_not_written(self, runner, monkeypatch, drafted):
        monkeypatch.setattr(module.packed, "fits", lambda _model: drafted)
        asking = Asking(runner, Numbers(), [])
        first = asking.ask(PROMPTS, MOST)
        assert [one.ids for one in first] == [alone(prompt) for prompt in PROMPTS]
        with passes(runner) as read:
            assert asking.ask(PROMPTS, MOST) == first
        assert len(read) <= 2
        # Shorter answers are their beginnings.
        assert [one.ids for one in asking.ask(PROMPTS, 3)] == [alone(prompt)[:3] for prompt in PROMPTS]

    def test_nothing_is_asked_twice_in_one_state_of_the_weights(self, runner):
        asking = Asking(runner, Numbers(), [])
        with passes(runner) as read:
            short = asking.ask(PROMPTS, 5, at=9)
        assert len(read) > 1
        # Somebody else asks, and wants more of two answers and less of the third.
        other = Asking(runner, Numbers(), [])
        with passes(runner) as read:
            assert other.ask(PROMPTS, 5, at=9) == short
            assert [one.ids for one in other.ask(PROMPTS[2:], 2, at=9)] == [short[2].ids[:2]]
        assert not read
        assert [one.ids for one in other.ask(PROMPTS, MOST, at=9)] == [alone(prompt) for prompt in PROMPTS]
        with passes(runner) as read:
            other.ask(PROMPTS, 5, at=10)
        assert read

    def test_how_long_an_answer_the_data_teach(self, runner):
        rows = [[1, 40, 7, 7, 2], [1, 40, 7, 2], [1, 41, 7, 7, 7, 7, 2], [8, 1, 40, 7, 7, 7, 7, 2]]
        runner.train_dataloader = SimpleNamespace(dataset=[{"input_ids": row} for row in rows])
        asking = Asking(runner, Numbers(), [])
        assert [asking.taught(prompt) for prompt in ("1 40", "1 41", "1 42")] == [3, 5, 0]

    def test_several_processes_share_no_answers(self, runner):
        runner.world_size = 2
        Asking(runner, Numbers(), []).ask(PROMPTS, 5, at=9)
        assert runner.studio_heard.answers == {}

    @pytest.mark.parametrize("by", [0.1, 2.0])
    def test_what_has_changed_is_said_as_if_nothing_was_known(self, runner, by):
        asking = Asking(runner, Numbers(), [])
        before = asking.ask(PROMPTS, MOST)
        torch.manual_seed(5)
        head = runner.model.llm.lm_head.weight
        head.data += by * torch.randn_like(head)
        after = asking.ask(PROMPTS, MOST)
        assert after == Asking(runner, Numbers(), []).ask(PROMPTS, MOST)
        assert after != before

    def test_the_base_says_nothing_again_of_what_was_learned(self, runner):
        asking = Asking(runner, Numbers(), [])
        asking.before = {prompt: [40, 40, 40] for prompt in PROMPTS}
        said = asking.ask(PROMPTS, MOST, base=True)
        assert [one.ids for one in said] == [alone(prompt) for prompt in PROMPTS]
        assert asking.before[PROMPTS[0]] == [40, 40, 40]

    @pytest.mark.parametrize("fits", [True, False])
    @pytest.mark.parametrize("most", [8, 40, 2048])
    def test_how_much_of_a_given_answer_it_would_say(self, runner, monkeypatch, most, fits):
        monkeypatch.setattr(module, "MOST_TOKENS", most)
        monkeypatch.setattr(module.packed, "AT_ONCE_ON_CPU", most)
        monkeypatch.setattr(module.packed, "fits", lambda _model: fits)
        own = [alone(prompt) for prompt in PROMPTS]
        other = [ids[:] for ids in own]
        other[0][-1] = (other[0][-1] + 1) % 48
        other[2] = other[2][:5]
        asking = Asking(runner, Numbers(), [])
        assert asking.agreed(PROMPTS, own) == [len(ids) for ids in own]
        assert asking.agreed(PROMPTS, other) == [len(own[0]) - 1, len(own[1]), 5]
