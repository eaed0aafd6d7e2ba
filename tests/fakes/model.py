"""A model directory like InternLM2's of a few kilobytes, without torch: complete for every check that reads files."""

import json
import math
import struct
from pathlib import Path

SHAPE = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
TENSORS = {
    "model.tok_embeddings.weight": [64, 16],
    "model.layers.0.attention.wqkv.weight": [32, 16],
    "model.layers.1.attention.wqkv.weight": [32, 16],
    "output.weight": [64, 16],
}
# InternLM2's chat template.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PARAMETERS = sum(math.prod(shape) for shape in TENSORS.values())


def write_safetensors(path: Path, tensors: dict[str, list[int]]) -> None:
    """Write zeros in float32: 8 bytes little-endian header length, JSON header, data."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + bytes(end))


def write_model(path: Path, *, shards: int = 1, demo: bool = False) -> Path:
    """Fill the new directory `path`, with `shards` weight files and an index if more than one."""
    path.mkdir(parents=True)
    config = {
        "architectures": ["InternLM2ForCausalLM"],
        "model_type": "internlm2",
        "torch_dtype": "float32",
        "auto_map": {
            "AutoConfig": "configuration_internlm2.InternLM2Config",
            "AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM",
        },
        **SHAPE,
    }
    (path / "config.json").write_text(json.dumps(config, indent=2))
    for name in ("configuration_internlm2.py", "modeling_internlm2.py"):
        (path / name).write_text('"""Stands for the architecture\'s code."""\n')
    tokenizer = {"version": "1.0", "model": {"type": "BPE", "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2}, "merges": []}}
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    tokens = ["<|im_start|>", "<|im_end|>"]
    settings = {"bos_token": "<s>", "eos_token": "</s>", "additional_special_tokens": tokens}
    settings["chat_template"] = CHAT_TEMPLATE
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    (path / "README.md").write_text("# A model for tests\n")
    if demo:
        (path / "demo_model.json").write_text(json.dumps({"seed": 0, "steps": 1, "parameters": PARAMETERS}))
    if shards == 1:
        write_safetensors(path / "model.safetensors", TENSORS)
        return path
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = dict(list(TENSORS.items())[number::shards])
        write_safetensors(path / file, part)
        weight_map |= dict.fromkeys(part, file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return path
