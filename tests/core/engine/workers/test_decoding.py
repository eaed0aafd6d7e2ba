"""Fast decoding gives the same tokens as the model's own `generate`, whatever else is in the batch."""

import pytest
import torch
from transformers import DynamicCache, LlamaModel, MistralConfig, MistralForCausalLM

from core.engine.workers import decoding
from core.engine.workers.answering import steps
from core.engine.workers.decoding import BUCKET, Batch, Decoder, Draw, Row, sampled
from tests.core.engine.workers.tiny import generate, llama, lora, merged

PROMPTS = [[1, 5, 9, 3, 7], [1, 40], [1, 8, 8, 30, 2, 17, 4, 33, 21], [1]]
MOST = 12
GREEDY = Draw()


def generated(model, ids):
    return generate(model, ids, MOST)


def written(decoder, rows, draw=GREEDY):
    return [list(row) for row in zip(*decoder.write(rows, MOST, draw), strict=True)]


@pytest.fixture(scope="module")
def decoder():
    made = Decoder(llama())
    assert made.usable, made.why
    made.adapters.add("a", lora(llama(), 1))
    made.adapters.add("b", lora(llama(), 2))
    return made


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_rows_of_unlike_lengths_are_written_as_each_alone(attention):
    made = Decoder(llama(attn_implementation=attention))
    assert made.usable, made.why
    wanted = [generated(llama(), ids) for ids in PROMPTS]
    assert len({tuple(tokens) for tokens in wanted}) == len(PROMPTS)
    assert written(made, [Row(ids) for ids in PROMPTS]) == wanted
    # Once more: what the previous batch left behind does not matter.
    assert written(made, [Row(ids) for ids in PROMPTS[::-1]]) == wanted[::-1]


@torch.inference_mode()
def test_what_overflowed_in_the_batch_before_is_gone(decoder):
    """Anything times zero is zero, except infinity."""
    rows = [Row(ids) for ids in PROMPTS]
    wanted = written(decoder, rows)
    for batch in decoder.batches.values():
        for part in (*batch.cache.keys.values(), *batch.cache.values.values()):
            part.fill_(torch.inf)
    assert written(decoder, rows) == wanted


def test_each_row_by_its_adapter_in_any_order(decoder):
    models = {name: merged(llama(), lora(llama(), seed), 2.0) for name, seed in (("a", 1), ("b", 2))} | {None: llama()}
    rows = [Row(PROMPTS[0], "b"), Row(PROMPTS[1]), Row(PROMPTS[2], "a"), Row(PROMPTS[0], "a"), Row(PROMPTS[0])]
    wanted = [generated(models[row.adapter], row.ids) for row in rows]
    assert wanted[0] != wanted[3] != wanted[4]
    assert written(decoder, rows) == wanted


def test_others_may_still_run_the_model(decoder):
    wanted = generated(llama(), PROMPTS[2])
    written(decoder, [Row(ids) for ids in PROMPTS])
    decoder.adapters.layout.set([None])
    assert generated(decoder.model, PROMPTS[2]) == wanted


def test_equal_seeds_draw_alike_in_every_row_and_other_seeds_otherwise(decoder):
    rows = [Row(PROMPTS[0]), Row(PROMPTS[0]), Row(PROMPTS[1])]
    draw = Draw(temperature=2.0, seed=5)
    first = written(decoder, rows, draw)
    assert first[0] == first[1]
    assert written(decoder, rows, draw) == first
    assert written(decoder, rows, Draw(temperature=2.0, seed=6)) != first
    assert written(decoder, rows, Draw(temperature=1e-4)) == written(decoder, rows)


@pytest.mark.parametrize(
    ("draw", "chance", "token"),
    [
        # Most likely first: token 1 has 0.6, token 2 0.3, token 0 0.1.
        (Draw(temperature=1.0), 0.0, 1),
        (Draw(temperature=1.0), 0.59, 1),
        (Draw(temperature=1.0), 0.61, 2),
        (Draw(temperature=1.0), 0.89, 2),
        (Draw(temperature=1.0), 0.91, 0),
        (Draw(temperature=1.0), 1.0, 0),
        # Among those that sum to 0.7: the first two, at 2 to 1.
        (Draw(temperature=1.0, top_p=0.7), 0.66, 1),
        (Draw(temperature=1.0, top_p=0.7), 0.67, 2),
        (Draw(temperature=1.0, top_p=0.7), 0.9999, 2),
        (Draw(temperature=1.0, top_p=0.5), 0.9999, 1),
        # Squared: 36, 9 and 1 of 46.
        (Draw(temperature=0.5), 0.77, 1),
        (Draw(temperature=0.5), 0.8, 2),
    ],
)
def test_the_drawn_token(draw, chance, token):
    logits = torch.log(torch.tensor([[0.1, 0.6, 0.3]] * 2))
    assert sampled(logits, draw, chance).tolist() == [[token], [token]]


def test_the_room_of_a_batch(decoder):
    assert [decoding._bucket(length) for length in (1, BUCKET, BUCKET + 1)] == [BUCKET, BUCKET, 2 * BUCKET]
    assert decoder.fits(1024)
    assert not decoder.fits(1025)
    assert not Decoder(llama(max_position_embeddings=BUCKET + 10)).fits(BUCKET + 1)


def test_beyond_a_sliding_window_the_models_own_mask_is_used():
    def mistral(window):
        torch.manual_seed(0)
        sizes = {"vocab_size": 48, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.3}
        config = MistralConfig(**sizes, **heads, sliding_window=window, attn_implementation="eager")
        return MistralForCausalLM(config).eval()

    ids = PROMPTS[2] * 3
    wanted = generated(mistral(16), ids)
    assert wanted != generated(mistral(None), ids)
    made = Decoder(mistral(16))
    assert made.fits(16)
    assert not made.fits(17)
    assert [row[0] for row in steps(made, [Row(ids)], MOST, GREEDY)] == wanted
    assert Decoder(mistral(None)).fits(17)


def test_batches_are_kept_until_room_is_needed(monkeypatch):
    made = Decoder(llama())
    monkeypatch.setattr(decoding, "MOST_ROOM", 4 * BUCKET)
    one = made.batch([None], BUCKET)
    two = made.batch([None, None], BUCKET)
    assert made.batch([None], BUCKET) is one
    # The least recently used one is evicted.
    made.batch([None], 2 * BUCKET)
    assert made.batch([None], BUCKET) is one
    assert two not in made.batches.values()
    assert len(made.batches) == 2


def test_a_pool_without_graphs_is_not_used_again(monkeypatch):
    made, pools = Decoder(llama()), []
    made.graphs = True
    monkeypatch.setattr(Batch, "capture", lambda batch: pools.append(batch.decoder.pool))
    made.batch([None], BUCKET)
    made.batch([None, None], BUCKET)
    made.batches.clear()
    made.batch([None], BUCKET)
    assert pools[0] == pools[1] != pools[2]


def test_short_of_memory_it_stays_as_quick(monkeypatch):
    """The other batches free their memory. Without others the request fails, and later ones are captured again."""
    made, short = Decoder(llama()), []

    def capture(batch):
        if len(short) < 2:
            short.append(len(batch.decoder.batches))
            raise torch.cuda.OutOfMemoryError

    made.batch([None], BUCKET)
    made.graphs = True
    monkeypatch.setattr(Batch, "capture", capture)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        made.batch([None, None], BUCKET)
    # First beside the other batch, then alone.
    assert short == [1, 0]
    assert made.graphs
    assert made.batch([None, None], BUCKET) in made.batches.values()


def test_an_adapter_is_forgotten_with_its_batches():
    made = Decoder(llama())
    made.adapters.add("a", lora(llama()))
    plain, other = made.batch([None], BUCKET), made.batch([None, "a"], BUCKET)
    made.forget("a")
    assert list(made.batches.values()) == [plain]
    assert other not in made.batches.values()
    assert made.adapters.names == []


def test_a_longer_answer_than_the_first_room():
    made = Decoder(llama())
    ids = [1] + [n % 40 + 3 for n in range(BUCKET)]
    assert written(made, [Row(ids)]) == [generated(llama(), ids)]


def test_where_it_computes_otherwise_it_is_not_used(monkeypatch):
    run = Batch._run
    monkeypatch.setattr(Batch, "_run", lambda self, seen: (self.positions.add_(1), run(self, seen)))
    made = Decoder(llama())
    assert not made.usable
    assert "differ" in made.why
    assert not made.fits(1)


def test_llama_as_transformers_439_runs_it(monkeypatch):
    """When asked to use a cache, it converts what it is given to tuples, by copying."""
    forward = LlamaModel.forward

    def older(self, past_key_values=None, use_cache=None, **given):
        if use_cache:
            past_key_values = DynamicCache.from_legacy_cache(past_key_values)
        return forward(self, past_key_values=past_key_values, use_cache=use_cache, **given)

    wanted = [generated(llama(), ids) for ids in PROMPTS]
    monkeypatch.setattr(LlamaModel, "forward", older)
    made = Decoder(llama())
    assert made.usable, made.why
    assert written(made, [Row(ids) for ids in PROMPTS]) == wanted


def test_a_model_of_another_make_is_not_used():
    from transformers import GPT2Config, GPT2LMHeadModel

    made = Decoder(GPT2LMHeadModel(GPT2Config(vocab_size=48, n_embd=8, n_layer=1, n_head=2)).eval())
    assert not made.usable
    assert made.why
