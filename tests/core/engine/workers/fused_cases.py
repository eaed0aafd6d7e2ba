"""The fused step against the models' own `generate`, in single precision, its kernels interpreted: prints one JSON line."""

import json
import sys
from pathlib import Path

# First: it has the kernels interpreted.
from tests.core.engine.workers import interpreted  # noqa: F401  isort: skip

import torch
from transformers import GemmaConfig, GemmaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from core.engine.workers import fused_step
from core.engine.workers.batch import Batch
from core.engine.workers.decoding import Decoder, Draw, Row
from tests.core.engine.workers.tiny import generate, llama, lora, merged

MOST = 4
PROMPTS = [[1, 5, 9, 3, 7], [1, 40], [1, 8, 8, 30, 2, 17, 4, 33, 21]]
SIZES = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
FEW = {"vocab_size": 48, "intermediate_size": 48, "num_hidden_layers": 2, "initializer_range": 0.3, **SIZES}


def generated(model, ids):
    return generate(model, ids, MOST)


def written(decoder, rows):
    found = [list(row) for row in zip(*decoder.write(rows, MOST, Draw()), strict=True)]
    assert all((batch.fused is not None) == (decoder.fused is not None) for batch in decoder.batches.values())
    return found


def made(kind, config):
    torch.manual_seed(0)
    model = kind(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return model


def internlm2(code):
    """Return a tiny InternLM2, whose queries, keys and values are one layer, in groups."""
    from core.engine.workers.demo_model import import_modeling

    modules = import_modeling(code)
    settings = {name: value for name, value in FEW.items() if name != "initializer_range"}
    config = modules.configuration_internlm2.InternLM2Config(**settings, initializer_range=0.3, bias=False)
    config.attn_implementation = "eager"
    return lambda: made(modules.modeling_internlm2.InternLM2ForCausalLM, config)


def main():
    found = {}
    # A program of the interpreter takes a millisecond, whatever its size.
    cores = fused_step.Tile(32, 32, 4, cores=True)
    plain = fused_step.Tile(32, 32, 4)
    fused_step.tile = lambda rows, *_, **__: cores if rows > 2 else plain
    decoder = Decoder(llama(**SIZES), fused=True)
    decoder.adapters.add("a", lora(llama(**SIZES), 1))
    decoder.adapters.add("b", lora(llama(**SIZES), 2, rank=2))
    models = {"a": merged(llama(**SIZES), lora(llama(**SIZES), 1), 8 / 4), None: llama(**SIZES)}
    models["b"] = merged(llama(**SIZES), lora(llama(**SIZES), 2, rank=2), 8 / 2)
    rows = [Row(PROMPTS[0], "b"), Row(PROMPTS[1]), Row(PROMPTS[2], "a"), Row(PROMPTS[0], "a"), Row(PROMPTS[0])]
    wanted = [generated(models[row.adapter], row.ids) for row in rows]
    found["adapters"] = decoder.fused is not None and written(decoder, rows) == wanted
    # Their own code still runs on the stacked weights.
    decoder.adapters.layout.set([None])
    found["theirs"] = generated(decoder.model, PROMPTS[2]) == generated(models[None], PROMPTS[2])
    # Over several parts of the cache: one row in the last of them, the other in the first.
    fused_step.SPLIT = 32
    decoder.batches.clear()
    long = [1] + [n % 40 + 3 for n in range(120)]
    wanted = [generated(models[None], long), generated(models["a"], PROMPTS[1])]
    found["parts"] = written(decoder, [Row(long), Row(PROMPTS[1], "a")]) == wanted
    fused_step.SPLIT = 256
    found["rows"] = decoder.batch([None] * (fused_step.MOST_ROWS + 1), 256).fused is None
    # Kernels that do not run for a batch, on a GPU of another kind: then without them, and then without a graph.
    decoder.graphs, tried = True, []
    capture = Batch.capture

    def fails(batch):
        tried.append(batch.fused is not None)
        raise RuntimeError("out of shared memory")

    Batch.capture = fails
    decoder.batches.clear()
    alone = written(decoder, [Row(PROMPTS[0])]) == [generated(models[None], PROMPTS[0])]
    found["falls back"] = alone and tried == [True, False] and not decoder.graphs
    Batch.capture = capture
    makes = {
        "biases": lambda: made(Qwen2ForCausalLM, Qwen2Config(**FEW, attn_implementation="eager")),
        "grouped": internlm2(Path(sys.argv[1])),
    }
    for name, make in makes.items():
        decoder = Decoder(make(), fused=True)
        wanted = [generated(make(), ids) for ids in PROMPTS]
        found[name] = decoder.fused is not None and written(decoder, [Row(ids) for ids in PROMPTS]) == wanted
    # Another activation and other normalizations: by their own code, as before.
    gemma = made(GemmaForCausalLM, GemmaConfig(**FEW, head_dim=16, attn_implementation="eager"))
    decoder = Decoder(gemma, fused=True)
    found["another"] = decoder.usable and decoder.fused is None
    # What computes otherwise is not used.
    attend, fused_step.Step._attend = fused_step.Step._attend, lambda *_: None
    decoder = Decoder(llama(**SIZES), fused=True)
    found["wrong"] = decoder.usable and decoder.fused is None
    fused_step.Step._attend = attend
    print(json.dumps(found))


if __name__ == "__main__":
    main()
