"""The memory formula against what was measured on one H200 with InternLM2's 1.8 B architecture."""

import pytest

from core.config.fit import fit
from core.config.memory import memory
from core.models.shape import Shape, shape
from tests.fakes.model import write_safetensors

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


def test_more_than_135_gb():
    assert allocated(bits=None, batch=8, checkpointing=False) > 135_000


def test_sdpa_takes_the_square_away():
    eager, sdpa = (allocated(batch=2, checkpointing=False, attention=name) for name in ("eager", "sdpa"))
    assert eager - sdpa == pytest.approx(4096 * L * 6 * 16 * 2048 / 2**20)


def test_full_training_takes_four_times_the_weights_and_more():
    assert allocated(r=0, bits=None, dtype=None) > 4 * INTERNLM2.parameters * 4 / 2**20
    assert allocated(r=0, bits=None, dtype="float16") < allocated(r=0, bits=None, dtype=None)


@pytest.mark.parametrize(
    ("free", "method", "checkpointing", "batch"),
    [(80_000, "lora", False, 16), (8_192, "qlora", False, 8), (6_000, "qlora", True, 16), (1_000, "qlora", True, 1)],
)
def test_fit(free, method, checkpointing, batch):
    found = fit(INTERNLM2, {"free_mb": free, "bf16": True}, longest=60, rank=16, sdpa=True)
    assert (found.method, found.checkpointing, found.half) == (method, checkpointing, "bfloat16")
    assert found.batch_size == batch
    options = {
        "r": 16, "bits": 4 if method == "qlora" else None, "checkpointing": checkpointing, "batch": batch, "longest": 60,
        "dropout": 0.05,
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
    # XTuner tunes InternLM2's head too, which is called `output`; not an `lm_head`.
    assert found.lora_per_rank == (16 + 8) + (20 + 8)
    (tmp_path / "model.safetensors").unlink()
    like_llama = shape(tmp_path)
    assert like_llama.linear == 4 * 8 * 8 + 3 * 8 * 16
    assert like_llama.lora_per_rank == 4 * 16 + 3 * 24


def test_zero_divides_what_it_splits_and_offloads():
    """Full training: 2 bytes of weights, 2 of gradients, 12 of optimizer for each parameter, over the processes."""
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
