"""What each process holds: DeepSpeed's stages split more and more, offload moves it to the host."""

import pytest

from core.engine.presets import deepspeed_settings, zero_settings
from core.forecast.sharing import shares


def test_settings_are_read_from_xtuner():
    assert zero_settings("deepspeed_zero1") == (1, False, False)
    assert zero_settings("deepspeed_zero2_offload") == (2, True, False)
    assert zero_settings("deepspeed_zero3_offload") == (3, True, True)


def test_each_stage_leaves_less_on_a_gpu(config, small_model):
    found = {share.name: share for share in shares(config, small_model, 4)}
    assert set(found) == {None, *deepspeed_settings()}
    order = [None, "deepspeed_zero1", "deepspeed_zero2", "deepspeed_zero3"]
    sizes = [found[name].gpu_bytes for name in order]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    for name in ("deepspeed_zero2", "deepspeed_zero3"):
        moved = found[f"{name}_offload"]
        assert moved.gpu_bytes < found[name].gpu_bytes
        assert moved.gpu_bytes + moved.host_bytes == pytest.approx(found[name].gpu_bytes)


def test_alone_nothing_is_split(config, small_model):
    found = {share.name: share.gpu_bytes for share in shares(config, small_model, 1)}
    assert found["deepspeed_zero3"] == found["deepspeed_zero1"] == found[None]
