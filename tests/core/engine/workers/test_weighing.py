"""Rating an answer: the model would write its own greedy one again, and each row uses the adapter it names."""

import pytest
import torch

from core.engine.workers import weighing
from core.engine.workers.decoding import Decoder, Draw, Row
from core.engine.workers.weighing import Given, weigh
from tests.core.engine.workers.tiny import llama, lora

PROMPTS = [[1, 5, 9, 3, 7], [1, 40], [1, 8, 8, 30, 2, 17, 4, 33, 21]]
MOST = 12


@pytest.fixture(scope="module")
def decoder():
    made = Decoder(llama())
    made.adapters.add("a", lora(llama(), 1))
    return made


def written(decoder, adapter=None):
    rows = [Row(prompt, adapter) for prompt in PROMPTS]
    return [list(ids) for ids in zip(*decoder.write(rows, MOST, Draw()), strict=True)]


def by_number(weights):
    return {weight.number: weight for weight in weights}


@pytest.mark.parametrize("most", [16, 24, 2048])
def test_its_own_answer_is_agreed_to_and_as_likely_as_the_plain_pass_says(decoder, monkeypatch, most):
    monkeypatch.setattr(weighing, "MOST_TOKENS", most)
    monkeypatch.setattr(weighing, "MOST_LOGITS", 5)
    answers = [ids[: 4 + 4 * place] for place, ids in enumerate(written(decoder))]
    found = by_number(weigh(decoder, [Given(n, p, a) for n, (p, a) in enumerate(zip(PROMPTS, answers, strict=True))]))
    plain = llama()
    for number, (prompt, answer) in enumerate(zip(PROMPTS, answers, strict=True)):
        with torch.no_grad():
            logits = plain(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
        likely = torch.log_softmax(logits, -1).gather(-1, torch.tensor(answer)[:, None]).sum()
        assert (found[number].tokens, found[number].agreed) == (len(answer), len(answer))
        assert found[number].logprob == pytest.approx(float(likely), abs=1e-3)


def test_another_answer_is_counted_token_by_token(decoder):
    answer = written(decoder)[0]
    other = [(answer[0] + 1) % 48, *answer[1:]]
    (weight,) = weigh(decoder, [Given(0, PROMPTS[0], other)])
    assert weight.agreed < len(other)
    (own,) = weigh(decoder, [Given(0, PROMPTS[0], answer)])
    assert weight.logprob < own.logprob


def test_each_row_goes_by_its_adapter(decoder):
    base, tuned = written(decoder), written(decoder, "a")
    assert base != tuned
    rows = [Given(0, PROMPTS[0], base[0]), Given(1, PROMPTS[0], base[0], "a")]
    rows += [Given(2, PROMPTS[0], tuned[0], "a"), Given(3, PROMPTS[1], base[1])]
    found = by_number(weigh(decoder, rows))
    assert found[0].agreed == found[3].agreed == found[2].agreed == MOST
    assert found[1].agreed < MOST
    assert found[1].logprob < found[0].logprob
