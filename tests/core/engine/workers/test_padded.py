"""Padded batches give what the model's own `generate` writes for each prompt, if `decoding` does not support it."""

import pytest
import torch
from transformers import XGLMConfig, XGLMForCausalLM

from core.engine.workers import answering, padded
from core.engine.workers.answering import Worker, steps
from core.engine.workers.decoding import Decoder, Draw, Row
from core.engine.workers.padded import Padded, bears, fits
from tests.core.engine.workers.tiny import generate, llama, lora, merged

PROMPTS = [[1, 5, 9, 3, 7], [1, 40], [1, 8, 8, 30, 2, 17, 4, 33, 21], [1]]
MOST = 12
GREEDY = Draw()


def old() -> XGLMForCausalLM:
    """An older kind of model: no custom mask, and a cache of tuples."""
    torch.manual_seed(0)
    config = XGLMConfig(
        vocab_size=48, d_model=32, ffn_dim=48, num_layers=2, attention_heads=4, max_position_embeddings=64,
        init_std=0.6, bos_token_id=1, eos_token_id=2, dropout=0.0, attention_dropout=0.0, scale_embedding=False,
        tie_word_embeddings=False,
    )  # fmt: skip
    return XGLMForCausalLM(config).eval()


def generated(model, ids):
    return generate(model, ids, MOST)


def written(decoder, rows, draw=GREEDY):
    return [list(row) for row in zip(*padded.padded(decoder, rows, MOST, draw), strict=True)]


def ready(model) -> Decoder:
    worker = object.__new__(Worker)
    worker.device = "cpu"
    return worker.ready(model, "model")


@pytest.fixture(scope="module")
def decoder():
    made = ready(old())
    made.adapters.add("a", lora(old(), 1))
    made.adapters.add("b", lora(old(), 2))
    return made


def test_a_model_with_a_cache_of_tuples_is_asked_in_padded_batches(decoder, capsys):
    with torch.no_grad():
        assert isinstance(old()(torch.tensor([[1, 5]]), use_cache=True).past_key_values, tuple)
    assert not decoder.usable
    assert decoder.pads
    ready(old())
    assert (
        "model is asked in padded batches: ValueError: it does not accept an attention mask" in capsys.readouterr().out
    )


def test_rows_of_unlike_lengths_are_written_as_each_alone(decoder):
    wanted = [generated(old(), ids) for ids in PROMPTS]
    assert len({tuple(tokens) for tokens in wanted}) == len(PROMPTS)
    assert written(decoder, [Row(ids) for ids in PROMPTS]) == wanted
    assert written(decoder, [Row(ids) for ids in PROMPTS[::-1]]) == wanted[::-1]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_so_does_a_model_with_a_cache_of_its_own_class(attention):
    made = Decoder(llama(attn_implementation=attention))
    assert bears(made) == ""
    assert written(made, [Row(ids) for ids in PROMPTS]) == [generated(llama(), ids) for ids in PROMPTS]


def test_each_row_by_its_adapter_in_any_order(decoder):
    models = {name: merged(old(), lora(old(), seed), 2.0) for name, seed in (("a", 1), ("b", 2))} | {None: old()}
    rows = [Row(PROMPTS[0], "b"), Row(PROMPTS[1]), Row(PROMPTS[2], "a"), Row(PROMPTS[0], "a"), Row(PROMPTS[0])]
    wanted = [generated(models[row.adapter], row.ids) for row in rows]
    assert wanted[0] != wanted[3] != wanted[4]
    assert written(decoder, rows) == wanted


def test_drawn_tokens_are_those_of_a_row_alone(decoder):
    draw = Draw(temperature=2.0, seed=5)
    together = written(decoder, [Row(ids) for ids in PROMPTS], draw)
    alone = [answering.plainly(decoder, [Row(ids)], MOST, draw) for ids in PROMPTS]
    assert together == [[tokens[0] for tokens in row] for row in alone]
    assert written(decoder, [Row(PROMPTS[0])], Draw(temperature=2.0, seed=6)) != together[:1]


def test_the_quickest_way_that_is_the_models_own(decoder, monkeypatch):
    for name in ("padded", "plainly"):
        monkeypatch.setattr(answering, name, lambda *_, name=name: name)
    rows = [Row(PROMPTS[0]), Row(PROMPTS[1])]
    assert steps(decoder, rows, MOST, Draw()) == "padded"
    # Beyond the positions it was made for, a row may be computed by the longest one of its batch.
    assert fits(decoder, 64)
    assert not fits(decoder, 65)
    assert steps(decoder, rows, 60, Draw()) == "plainly"
    monkeypatch.setattr(decoder, "pads", False)
    assert steps(decoder, rows, MOST, Draw()) == "plainly"
    quick = ready(llama())
    assert quick.usable
    monkeypatch.setattr(quick, "write", lambda *_: "quick")
    assert steps(quick, rows, MOST, Draw()) == "quick"


def test_where_a_padded_batch_answers_otherwise_it_is_not_used(monkeypatch, capsys):
    run = Padded._run
    monkeypatch.setattr(
        Padded, "_run", lambda self, module, ids, mask, at: run(self, module, ids, torch.ones_like(mask), at)
    )
    made = ready(old())
    assert not made.pads
    assert "one row at a time (ValueError: its logits differ" in capsys.readouterr().out


def test_a_model_that_takes_no_positions_is_not_asked_so():
    class Alone(XGLMForCausalLM):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=None, **_):
            return super().forward(
                input_ids, attention_mask=attention_mask, past_key_values=past_key_values, use_cache=use_cache
            )

    made = ready(Alone(old().config).eval())
    assert not made.usable
    assert not made.pads
