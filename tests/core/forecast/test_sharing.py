"""What each process holds: DeepSpeed's stages split more and more, offload moves it to the host."""

from types import SimpleNamespace

import pytest

from core.config.fit import LONG, ROOM
from core.config.memory import Setup, at_peak
from core.engine.config_file import ConfigFile
from core.engine.presets import deepspeed_settings, zero_settings
from core.forecast.sharing import FASTEST_FIRST, fastest, shares
from core.ground.files import read_json
from core.ground.workspace import PROJECT
from core.models.shape import shape


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
    """DeepSpeed keeps the base model in half precision, which XTuner otherwise keeps in single."""
    found = {share.name: share.gpu_bytes for share in shares(config, small_model, 1)}
    assert found["deepspeed_zero3"] == found["deepspeed_zero1"] < found[None]


def test_they_are_what_the_model_of_memory_says(config, small_model):
    """Weights, adapter, gradients and optimizer state, by the same formula as in the preflight."""
    form, rank = shape(small_model.path), config.values()["r"]
    found = {share.name: share for share in shares(config, small_model, 2)}
    weights, trained = 2 * form.parameters, form.trained(rank)
    assert found["deepspeed_zero3"].gpu_bytes == pytest.approx(weights / 2 + trained * (4 + 2 + 4), abs=2)
    assert found["deepspeed_zero3_offload"].host_bytes == pytest.approx(weights / 2 + trained * 4, abs=2)
    assert found["deepspeed_zero2_offload"].host_bytes == pytest.approx(trained * 4, abs=2)
    assert found["deepspeed_zero2"].host_bytes == 0


def cards(*megabytes):
    return [{"total_mb": each} for each in megabytes]


def test_what_is_offered_is_the_fastest_that_fits_on_every_gpu(config, small_model, monkeypatch):
    assert fastest(config, small_model, []) == (1, None)
    assert fastest(config, small_model, cards(80_000)) == (1, None)
    assert fastest(config, small_model, cards(80_000, 80_000)) == (2, None)
    from core.forecast import sharing

    def only(*fitting):
        monkeypatch.setattr(
            sharing, "at_peak", lambda _form, setup, *_, **__: SimpleNamespace(total_mb=1 if setup in fitting else 1e9)
        )
        return fastest(config, small_model, cards(80_000, 80_000))

    monkeypatch.setattr(sharing.Setup, "written", lambda _file, *, deepspeed, processes: (deepspeed, processes))
    for at, name in enumerate(FASTEST_FIRST):
        assert only(*[(better, 2) for better in FASTEST_FIRST[at:]]) == (2, name)
    assert only() == (2, FASTEST_FIRST[-1])


def test_the_order_is_the_measured_one():
    told = read_json(PROJECT / "benchmarks" / "results" / "gpu.json")

    def speed(phase, name):
        return told[phase][name]["tokens_per_second"]

    assert FASTEST_FIRST[:3] == (None, "deepspeed_zero2", "deepspeed_zero3")
    assert speed("several", "two_lora") > speed("several", "two_zero2")
    assert speed("methods", "zero2_fast") > speed("methods", "zero3_fast")


def test_the_smallest_gpu_counts_and_all_of_a_training(config, small_model):
    held = max(share.gpu_bytes for share in shares(config, small_model, 2)) / 2**20
    assert fastest(config, small_model, cards(80_000, held + 300)) != (2, None)


def test_what_keeping_takes_is_counted(config, small_model):
    """Where plain data parallel fits by less than that, it is not offered."""
    form, file = shape(small_model.path), ConfigFile(config.text())
    sizes = config.values()["batch_size"], min(config.values()["max_length"], LONG)
    plain, kept = (
        at_peak(form, Setup.written(file, deepspeed=None, processes=2), *sizes, kept=keep).total_mb
        for keep in (False, True)
    )
    between = cards(80_000, (plain + kept) / 2 / ROOM)
    assert fastest(config, small_model, between) == (2, None)
    assert fastest(config, small_model, between, keep=True) != (2, None)
