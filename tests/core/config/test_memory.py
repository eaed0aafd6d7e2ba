"""The memory formula against measurements on one H200 with InternLM2's 1.8 B architecture."""

import pytest

from core.config.fit import fit
from core.config.memory import Setup, held, memory
from core.config.settings.method import to_method, to_precision
from core.engine.config_file import MISSING, ConfigFile
from core.engine.presets import COURSE_PRESET, preset_text
from core.forecast.duration import KEEPING_SHARE
from core.ground.files import read_json
from core.ground.workspace import PROJECT
from core.models.shape import Shape, shape, typical
from tests.fakes.model import write_safetensors

RESULTS = PROJECT / "benchmarks" / "results" / "nvidia-h200-32cores" / "scaling.json"
H, I, L, V = 2048, 8192, 24, 92544  # noqa: E741
INTERNLM2 = Shape(
    linear=L * (H * (H + 2 * 1024) + H * H + 3 * H * I),
    head=V * H,
    embedding=V * H,
    other=(2 * L + 1) * H,
    lora_per_rank=L * (H + 4096 + 2 * H + 3 * (H + I)) + H + V,
    layers=L,
    hidden=H,
    intermediate=I,
    heads=16,
    vocabulary=V,
    positions=32768,
    attention="eager",
    dtype="float16",
)


def facts(*, r=64, bits=4, checkpointing=True, batch=1, longest=2048, dropout=0.1, attention=None, dtype="float16"):
    llm = {"torch_dtype": {"$name": f"torch.{dtype}"} if dtype else None, "attn_implementation": attention}
    if bits:
        llm["quantization_config"] = {"load_in_4bit": True}
    return {
        "batch_size": batch,
        "num_workers": 0,
        "data": {"longest": longest},
        "wrapper": "AmpOptimWrapper",
        "optimizer": {"type": "AdamW"},
        "model": {
            "llm": llm,
            "lora": {"r": r, "lora_dropout": dropout} if r else None,
            "use_activation_checkpointing": checkpointing,
        },
    }


def allocated(**options):
    return memory(INTERNLM2, facts(**options), cuda=True).allocated_mb


def test_parameters():
    assert INTERNLM2.parameters == pytest.approx(1.889e9, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "measured"),
    [
        ({}, 6300),
        ({"bits": None}, 11300),
        ({"batch": 2, "checkpointing": False}, 43000),
        # Its rows had some 32 tokens each.
        ({"bits": None, "batch": 16, "longest": 32, "checkpointing": False}, 14200),
    ],
)
def test_measured_on_a_gpu(options, measured):
    assert allocated(**options) == pytest.approx(measured, rel=0.15)


def test_what_the_base_model_said_is_held_in_half_precision_and_without_copies():
    told = facts(longest=1024)
    usual, kept = (memory(INTERNLM2, {**told, "keeps": keeps}, cuda=True) for keeps in (False, True))
    assert usual.allocated_mb - kept.allocated_mb == pytest.approx(1024 * V * 4 / 2**20 - 100)


def test_what_keeping_takes_was_measured_too():
    """With LoRA on packed rows of the course, on two GPUs: less than the usual loss, whose copies it does without."""
    measured = read_json(RESULTS)["figures"]
    for name, keeps in (("2-lora", False), ("2-lora-keep", True)):
        foreseen = memory(INTERNLM2, {**facts(bits=None), "keeps": keeps}, cuda=True).allocated_mb
        assert foreseen == pytest.approx(measured[name]["allocated_mb"], rel=0.05)
    slower = measured["2-lora-keep"]["seconds_per_iteration"] / measured["2-lora"]["seconds_per_iteration"]
    assert slower == pytest.approx(1 + KEEPING_SHARE, rel=0.1)


def test_bf16_halves_the_weights_beside_an_adapter_unless_they_are_quantized():
    options = {"longest": 60, "batch": 8, "checkpointing": False}
    assert allocated(**options, dtype="bfloat16") == allocated(**options, dtype="float16")
    saved = allocated(**options, bits=None, dtype="float16") - allocated(**options, bits=None, dtype="bfloat16")
    # Two bytes of each weight, and the copies in half precision of the linear layers and the head.
    copied = INTERNLM2.linear + INTERNLM2.head
    assert saved == pytest.approx((INTERNLM2.parameters * 2 + copied * 2) / 2**20)


def test_more_than_135_gb():
    assert allocated(bits=None, batch=8, checkpointing=False) > 135_000


def test_sdpa_takes_the_square_away():
    eager, sdpa = (allocated(batch=2, checkpointing=False, attention=name) for name in ("eager", "sdpa"))
    assert eager - sdpa == pytest.approx(4096 * L * 6 * 16 * 2048 / 2**20)


def test_full_training_takes_four_times_the_weights_and_more():
    assert allocated(r=0, bits=None, dtype=None) > 4 * INTERNLM2.parameters * 4 / 2**20
    assert allocated(r=0, bits=None, dtype="float16") < allocated(r=0, bits=None, dtype=None)


@pytest.mark.parametrize(
    ("free", "half", "method", "checkpointing", "batch"),
    [
        (80_000, "bfloat16", "lora", False, 16),
        (8_192, "bfloat16", "lora", False, 8),
        # Unquantized weights beside an adapter are then in single precision.
        (8_192, "float16", "qlora", False, 8),
        (6_000, "bfloat16", "qlora", True, 16),
        (1_000, "bfloat16", "qlora", True, 1),
    ],
)
def test_fit(free, half, method, checkpointing, batch):
    found = fit(INTERNLM2, {"free_mb": free, "bf16": half == "bfloat16"}, longest=60, rank=16, sdpa=True)
    assert (found.method, found.checkpointing, found.half) == (method, checkpointing, half)
    assert found.batch_size == batch
    options = {
        "r": 16, "bits": 4 if method == "qlora" else None, "checkpointing": checkpointing, "batch": batch, "longest": 60,
        "dropout": 0.05, "dtype": half,
    }  # fmt: skip
    assert free == 1_000 or memory(INTERNLM2, facts(**options), cuda=True).total_mb < free


def test_shape_of_a_model_on_disk(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 20, "num_attention_heads": 2, "intermediate_size": 16}'
    )
    write_safetensors(
        tmp_path / "model.safetensors",
        {
            "model.tok_embeddings.weight": [20, 8],
            "model.layers.0.attention.wqkv.weight": [16, 8],
            "model.layers.0.norm.weight": [8],
            "output.weight": [20, 8],
        },
    )
    found = shape(tmp_path)
    assert (found.linear, found.head, found.embedding, found.other) == (128, 160, 160, 8)
    # XTuner also tunes InternLM2's head, which is called `output` rather than `lm_head`.
    assert found.lora_per_rank == (16 + 8) + (20 + 8)
    (tmp_path / "model.safetensors").unlink()
    like_llama = shape(tmp_path)
    assert like_llama.linear == 4 * 8 * 8 + 3 * 8 * 16
    assert like_llama.lora_per_rank == 4 * 16 + 3 * 24


def test_zero_divides_what_it_splits_and_offloads():
    """Full training: 2 bytes of weights, 2 of gradients, 12 of optimizer per parameter, divided by the processes."""
    whole = facts(r=0, bits=None, dtype="bfloat16")

    def parts(setting, processes):
        told = memory(INTERNLM2, {**whole, "deepspeed": setting, "processes": processes}, cuda=True)
        found = {part.name: part.mb * 2**20 / INTERNLM2.parameters for part in told.parts}
        return round(found["weights"], 3), round(found["trained"], 3)

    assert parts("deepspeed_zero2", 1) == (2, 14)
    assert parts("deepspeed_zero1", 4) == (2, 5)
    assert parts("deepspeed_zero2", 4) == (2, 3.5)
    assert parts("deepspeed_zero3", 4) == (0.5, 3.5)
    assert parts("deepspeed_zero2_offload", 1) == (2, 2)
    assert parts("deepspeed_zero3_offload", 2) == (0, 1)


def test_bytes_of_a_weight():
    """4 bits and the scales of a block of 64, also quantized: 4.127 bits. Head and embedding take 4 bytes."""
    for bits, each in ((4, 0.516), (8, 1.03)):
        options = facts(bits=bits)
        if bits == 8:
            options["model"]["llm"]["quantization_config"] = {"load_in_8bit": True}
        (weights,) = (part for part in memory(INTERNLM2, options, cuda=True).parts if part.name == "weights")
        rest = INTERNLM2.head + INTERNLM2.embedding + INTERNLM2.other
        assert weights.mb * 2**20 == pytest.approx(INTERNLM2.linear * each + 4 * rest, rel=1e-6)
    # A scale of 8 bits for each 64 weights, and one of 32 bits for each 256 scales.
    assert 0.516 == pytest.approx((4 + 8 / 64 + 32 / (64 * 256)) / 8, rel=1e-3)


def changed(*changes):
    config = ConfigFile(preset_text(COURSE_PRESET))
    for switch, wanted in changes:
        for path, value in switch(config, wanted):
            config.delete(path) if value is MISSING else config.set(path, value)
    return config


@pytest.mark.parametrize(
    ("changes", "options", "wrapper"),
    [
        ([], {}, "AmpOptimWrapper"),
        ([(to_method, "lora")], {"bits": None}, "AmpOptimWrapper"),
        ([(to_method, "full")], {"bits": None, "r": 0}, "AmpOptimWrapper"),
        (
            [(to_method, "full"), (to_precision, "bf16")],
            {"bits": None, "r": 0, "dtype": "bfloat16"},
            "AmpOptimWrapper",
        ),
        ([(to_method, "full"), (to_precision, "fp32")], {"bits": None, "r": 0, "dtype": "float32"}, "OptimWrapper"),
    ],
)
@pytest.mark.parametrize("deepspeed", [None, "deepspeed_zero2", "deepspeed_zero3_offload"])
def test_the_text_of_a_config_says_what_the_engine_does(changes, options, wrapper, deepspeed):
    """The course's preset changed through the form, and the same settings as built by the engine."""
    beside = {"wrapper": wrapper, "deepspeed": deepspeed, "processes": 4}
    written = Setup.written(changed(*changes), deepspeed=deepspeed, processes=4)
    assert held(INTERNLM2, written) == held(INTERNLM2, Setup.of({**facts(**options), **beside}, cuda=True))


def test_what_is_held_is_a_part_of_what_is_taken():
    setup = Setup.of(facts(), cuda=True)
    parts = {part.name: part.mb for part in memory(INTERNLM2, facts(), cuda=True).parts}
    on_gpu, of_host = held(INTERNLM2, setup)
    assert on_gpu == pytest.approx((parts["weights"] + parts["copies"] + parts["trained"]) * 2**20)
    assert of_host == 0


def test_typical_models():
    for parameters in (500_000_000, 1_889_000_000, 7_000_000_000, 70_000_000_000):
        assert typical(parameters).parameters == pytest.approx(parameters, rel=0.06)
    assert typical(7_000_000_000).layers == 32
