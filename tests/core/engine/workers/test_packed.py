"""Texts in one row: each is read as if it were alone, whatever is read beside it and taken back."""

import pytest
import torch

from core.engine.workers.packed import Packed, fits, portions
from tests.core.engine.workers.tiny import llama

SHARED = [1, 5, 9]
TEXTS = {0: [3, 7, 11, 20], 1: [40], 2: [8, 30]}


def alone(model, ids, count):
    with torch.no_grad():
        return model.get_decoder()(torch.tensor([ids]))[0][0, -count:]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_each_text_sees_itself_alone(attention):
    model = llama(attn_implementation=attention)
    packed = Packed(model, 3, SHARED)
    with torch.no_grad():
        first = packed.read(TEXTS)
        for text, ids in TEXTS.items():
            assert torch.allclose(first[text], alone(model, SHARED + ids, len(ids)), atol=1e-5)
        packed.forget(0, 3)
        # One of them ends; the others go on, one from an earlier place.
        more = packed.read({0: [6, 6], 2: [4]})
    assert torch.allclose(more[0], alone(model, [*SHARED, 3, 6, 6], 2), atol=1e-5)
    assert torch.allclose(more[2], alone(model, [*SHARED, 8, 30, 4], 1), atol=1e-5)


@torch.no_grad()
def test_who_takes_no_such_mask_is_known():
    model = llama()
    assert fits(model)
    model.config._attn_implementation = "flash_attention_2"
    assert not fits(model)
    model.config._attn_implementation = "sdpa"
    assert fits(model)
    # Code that makes a causal mask of whatever it is given, that wants another shape, or that counts places itself.
    decoder = model.get_decoder()
    for made in (torch.zeros_like, lambda mask: mask[:, 0, 0, 0, 0]):
        decoder._update_causal_mask = lambda mask, *_, made=made: None if mask is None else made(mask)
        assert not fits(model)
    del decoder._update_causal_mask
    assert fits(model)
    decoder.rotary_emb.register_forward_pre_hook(lambda _, given: (given[0], torch.arange(given[0].shape[1])[None]))
    assert not fits(model)


def test_portions():
    assert list(portions([3, 4, 5, 9, 1], 8)) == [[0, 1], [2], [3], [4]]
    assert list(portions([], 8)) == []
