"""Greedy answers with drafts: the same tokens as one at a time, in fewer passes, however good or bad the drafts."""

import pytest
import torch

from core.engine.workers import drafting as module
from core.engine.workers.drafting import Drafts, write
from tests.core.engine.workers.tiny import llama

PROMPTS = [[1, 5, 9, 3, 7], [1, 40], [1, 8, 8, 30, 3, 17, 4, 33, 21]]
MOST = 24


def plainly(model, prompt, most=MOST):
    """Return the answer computed by plain forward passes over everything."""
    said: list[int] = []
    with torch.no_grad():
        while len(said) < most:
            said.append(int(model(torch.tensor([[*prompt, *said]])).logits[0, -1].argmax()))
    return said


def written(model, drafts, most=MOST):
    """Return the answers and the number of passes."""
    passes = []
    decoder = model.get_decoder()
    forward = decoder.forward

    def counted(*arguments, **options):
        passes.append(options["input_ids"].shape[1])
        return forward(*arguments, **options)

    decoder.forward = counted
    try:
        with torch.no_grad():
            said = write(model, PROMPTS, drafts, most, lambda _row, _ids: False)
    finally:
        del decoder.forward
    return said, len(passes)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["none", "right", "wrong", "half"])
def test_the_answers_are_those_of_plain_passes(attention, kind):
    model = llama(attn_implementation=attention)
    expected = [plainly(model, prompt) for prompt in PROMPTS]
    right = [prompt + said for prompt, said in zip(PROMPTS, expected, strict=True)]
    wrong = [[(token + 7) % 40 + 3 if n % 3 == 2 else token for n, token in enumerate(text)] for text in right]
    texts = {"none": [], "right": right, "wrong": wrong, "half": [*wrong[:2], right[2]]}[kind]
    said, passes = written(model, Drafts(texts))
    assert said == expected
    if kind == "right":
        assert passes <= 4


def test_without_drafts_one_token_a_pass():
    assert written(llama(), Drafts())[1] == MOST


def test_rows_end_each_for_itself_and_within_a_draft():
    model = llama()
    expected = [plainly(model, prompt) for prompt in PROMPTS]
    ends = [5, 9, 2]
    drafts = Drafts([prompt + said for prompt, said in zip(PROMPTS, expected, strict=True)])
    with torch.no_grad():
        said = write(model, PROMPTS, drafts, MOST, lambda row, ids: len(ids) == ends[row])
    assert said == [ids[:end] for ids, end in zip(expected, ends, strict=True)]


def test_the_draft_is_what_followed_the_longest_stretch_alike():
    drafts = Drafts([[1, 2, 3, 4, 5], [9, 2, 3, 6, 7, 8], [8, 2, 3]])
    assert drafts.after([1, 2, 3], 9) == [4, 5]
    assert drafts.after([9, 2, 3], 9) == [6, 7, 8]
    assert drafts.after([9, 2, 3], 2) == [6, 7]
    assert drafts.after([8, 2, 3], 9) == [], "a draft does not go on into the next text"
    assert drafts.has([8, 2, 3])
    assert not drafts.has([7, 2, 3])
    drafts.add([1, 2, 3, 7])
    assert drafts.after([1, 2, 3], 9) == [7], "of two that are equally alike, the newest"
    assert drafts.after([3, 9], 9) == drafts.after([3], 9) == Drafts().after([2, 3], 9) == []


def test_a_draft_is_read_where_the_last_ones_were_right():
    # Twelve prompts leave a pass no room for drafts that nothing speaks for.
    model = llama()
    prompts = [[1, 5, 9, 3, row + 7] for row in range(12)]
    expected = [plainly(model, prompt) for prompt in prompts]
    read = []
    decoder = model.get_decoder()
    forward = decoder.forward
    decoder.forward = lambda **options: read.append(options["input_ids"].shape[1]) or forward(**options)

    def tokens(texts):
        read.clear()
        with torch.no_grad():
            assert write(model, prompts, Drafts(texts), MOST, lambda _row, _ids: False) == expected
        return sum(read), len(read)

    alone = tokens([])
    # The prompts have four tokens in common, which are read once.
    assert alone == (4 + 12 + 12 * (MOST - 1), MOST)
    assert tokens([prompt + said for prompt, said in zip(prompts, expected, strict=True)])[1] <= 4
    wrong = tokens([[prompt[-1], 47] * 9 for prompt in prompts])
    assert wrong[0] < 1.1 * alone[0]


def test_many_prompts_are_written_in_portions(monkeypatch):
    model = llama()
    monkeypatch.setattr(module, "MOST_TOGETHER", 2 * (5 + MOST))
    assert written(model, Drafts()) == ([plainly(model, prompt) for prompt in PROMPTS], 2 * MOST)
