"""The cache and the rotary angles of a batch whose rows are at different positions."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from core.engine.workers.row_cache import Angles, RowCache
from tests.core.engine.workers.tiny import llama


def block(tokens, start=0.0):
    """Return unique numbers of shape (2 rows, 1 head, tokens, 2)."""
    return torch.arange(2 * tokens * 2, dtype=torch.float32).reshape(2, 1, tokens, 2) + start


def test_prompts_are_kept_at_the_beginning():
    cache = RowCache(5)
    keys, values = cache.update(block(3), block(3, 100), 0)
    assert torch.equal(keys, block(3))
    assert torch.equal(values, block(3, 100))
    assert torch.equal(cache.keys[0][:, :, :3], block(3))
    assert torch.equal(cache.values[0][:, :, :3], block(3, 100))
    assert not cache.keys[0][:, :, 3:].any()
    assert cache.get_seq_length() == 0
    assert cache.get_max_cache_shape() == 5


def test_each_row_goes_on_at_its_own_place():
    cache = RowCache(6)
    cache.update(block(3), block(3), 1)
    cache.place, cache.seen = torch.tensor([3, 1]).view(2, 1, 1, 1), 4
    keys, values = cache.update(block(1, 50), block(1, 70), 1)
    assert keys.shape == values.shape == (2, 1, 4, 2)
    assert torch.equal(keys[0, 0, 3], block(1, 50)[0, 0, 0])
    assert torch.equal(keys[0, 0, :3], block(3)[0, 0])
    assert torch.equal(keys[1, 0, 1], block(1, 50)[1, 0, 0])
    assert torch.equal(values[1, 0, 1], block(1, 70)[1, 0, 0])
    assert torch.equal(values[1, 0, [0, 2]], block(3)[1, 0, [0, 2]])
    assert not keys[1, 0, 3:].any()
    assert list(cache.keys) == [1]


def test_the_angles_are_the_models_own():
    model = llama()
    rotary, like = model.model.rotary_emb, torch.zeros(1, 1, 32)
    positions = torch.tensor([[0, 7], [511, 3]])
    wanted = rotary(like, positions)
    angles = Angles(model)
    assert angles.most == 1024
    angles.fill(100, like)
    angles.fill(512, like)
    table = angles.table
    angles.fill(512, like)
    angles.fill(9, like)
    # Not reallocated: a graph reads it at its address.
    assert angles.table is table
    angles.look_up(positions)
    for ours, theirs in zip(rotary(like, torch.zeros(1, 1)), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)
    # If somebody else runs the model, it uses its own.
    angles.now = None
    for ours, theirs in zip(rotary(like, positions), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


class RotaryEmbedding(nn.Module):
    """As in older models, which have one per layer."""

    def __init__(self, base):
        super().__init__()
        self.max_position_embeddings = int(base)
        self.register_buffer("inv_freq", 1 / base ** torch.arange(4.0))


@pytest.mark.parametrize("bases", [[], [10.0, 100.0]])
def test_models_of_another_make(bases):
    with pytest.raises(ValueError, match="alike"):
        Angles(nn.ModuleList([RotaryEmbedding(base) for base in bases]))


def test_the_least_room_of_all_layers_counts():
    modules = nn.ModuleList([RotaryEmbedding(10.0), RotaryEmbedding(10.0)])
    modules[1].max_position_embeddings = 7
    assert Angles(modules).most == 7
    # Longer texts have different angles from here on, however many there are.
    modules[0].config = SimpleNamespace(original_max_position_embeddings=5)
    assert Angles(modules).most == 5
