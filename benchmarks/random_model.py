"""Creates a model of InternLM2's 1.8 B architecture with random weights, for when the real ones are unavailable.

    python -m benchmarks.random_model OUT [--shape 1.8b|100m|tiny]

It has everything that the real directory has (config, modeling code, tokenizer, shards with their index), so that the
same code loads it, trains it, merges it and chats with it; only its answers are noise until it is trained. It has the
demo model's tokenizer and the real size of the vocabulary. Runs in the engine's interpreter.
"""

import argparse
import importlib.util
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from core.engine.workers.demo_model import import_modeling, save
from core.engine.workers.demo_text import EOS, Dialogues, build_tokenizer

DIALOGUES = Path(__file__).parents[1] / "core" / "data" / "dialogues"
# InternLM2-Chat-1.8B's config.json, and one that a CPU can handle.
SHAPES = {
    "1.8b": {
        "vocab_size": 92544,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
    },
    # To try out a benchmark without a GPU.
    "tiny": {
        "vocab_size": 3000,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "100m": {
        "vocab_size": 32000,
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 8,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
    },
}
SHARD_BYTES = 2_000_000_000


def make(out: Path, shape: str, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> int:
    """Write the model to `out`, which must not exist; return its number of parameters."""
    found = importlib.util.find_spec("xtuner")
    assert found is not None and found.submodule_search_locations
    code = Path(found.submodule_search_locations[0], "_lite", "modelings", "internlm2")
    internlm2 = import_modeling(code)
    config = internlm2.configuration_internlm2.InternLM2Config(
        **SHAPES[shape],
        max_position_embeddings=32768,
        rope_theta=1000000,
        bias=False,
        pad_token_id=EOS,
        architectures=["InternLM2ForCausalLM"],
        torch_dtype=str(dtype).removeprefix("torch."),
        auto_map={
            "AutoConfig": "configuration_internlm2.InternLM2Config",
            "AutoModel": "modeling_internlm2.InternLM2Model",
            "AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM",
        },
    )
    torch.manual_seed(seed)
    torch.set_default_dtype(dtype)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = internlm2.modeling_internlm2.InternLM2ForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model = model.to("cpu")
    out.mkdir(parents=True)
    facts = {"random_weights": True, "shape": shape, "seed": seed}
    save(model, build_tokenizer(Dialogues(DIALOGUES, seed)), code, out, facts)
    # Not a demo model: nothing is known about it except its shape.
    (out / "demo_model.json").rename(out / "random_model.json")
    (out / "README.md").write_text(
        f"# InternLM2 {shape}, random weights\n\nMade by a benchmark; it has learned nothing.\n"
    )
    shard(model.state_dict(), out)
    return sum(parameter.numel() for parameter in model.parameters())


def shard(tensors: "dict[str, torch.Tensor]", out: Path) -> None:
    """Replace the single weights file by shards of at most `SHARD_BYTES` with an index, like the real model's."""
    (out / "model.safetensors").unlink()
    groups: list[dict[str, torch.Tensor]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        if filled and filled + tensor.nbytes > SHARD_BYTES:
            groups.append({})
            filled = 0
        groups[-1][name] = tensor.contiguous()
        filled += tensor.nbytes
    names = {}
    for number, group in enumerate(groups, 1):
        file = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        save_file(group, out / file, metadata={"format": "pt"})
        names |= dict.fromkeys(group, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": names}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="1.8b")
    options = parser.parse_args()
    print(make(options.out, options.shape), "parameters")
