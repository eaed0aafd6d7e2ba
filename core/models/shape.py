"""Counts a model's parameters by kind of tensor, from the headers of its files: what takes memory in training.

Loads no weights. If there are only `.bin` files, the shape is computed from config.json as for a Llama.
"""

import re
from dataclasses import dataclass
from functools import cache
from itertools import count
from math import prod
from pathlib import Path
from typing import Any

from core.ground.files import read_start
from core.ground.model_code import MOST_BYTES
from core.models.settings import settings
from core.models.weights import safetensors_headers

# XTuner tunes every linear layer except these (`find_all_linear_names`).
_NOT_TUNED = ("lm_head", "output_layer")
_HEADS = (*_NOT_TUNED, "output", "embed_out")
# Layers that read what attention or a feed-forward block computed. Their input can be as wide as the hidden state.
_WRITERS = ("o_proj", "wo", "out_proj", "dense", "c_proj", "down_proj", "w2", "fc2", "dense_4h_to_h")
# In the name of an attention block, `self_attn` or `attention`.
_ATTENTION = re.compile(r"att(n|ention)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Numbers of parameters; `lora_per_rank` is for an adapter of rank 1 on every linear layer that XTuner tunes."""

    linear: int
    head: int
    embedding: int
    other: int
    lora_per_rank: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    vocabulary: int
    positions: int
    attention: str
    dtype: str | None

    @property
    def parameters(self) -> int:
        return self.linear + self.head + self.embedding + self.other

    def trained(self, rank: int) -> int:
        """Return the number of trained parameters: those of an adapter of this rank, or all for rank 0."""
        return self.lora_per_rank * rank if rank else self.parameters


def shape(model: Path, targets: tuple[str, ...] = ()) -> Shape | None:
    """Return the shape of a model, or None if unknown; `targets` are the layers to tune if a config names them."""
    config, wrong = settings(model)
    if config is None or wrong:
        return None
    if not config.get("hidden_size") or not config.get("num_hidden_layers"):
        return None
    return _counted(config, _tensors(model), targets)


@cache
def typical(parameters: int) -> Shape:
    """Return a typical shape for about this many parameters, if nothing else is known about the model.

    InternLM2's vocabulary and attention, Llama's layers, and a hidden size of 128 per layer.
    """
    smaller = None
    for layers in count(1):
        config = {
            "hidden_size": 128 * layers,
            "num_hidden_layers": layers,
            "intermediate_size": 344 * layers,
            "vocab_size": 92544,
            "attn_implementation": "eager",
        }
        found = _counted(config)
        if found.parameters >= parameters:
            break
        smaller = found
    return min(filter(None, (smaller, found)), key=lambda one: abs(one.parameters - parameters))


def _counted(
    config: dict[str, Any], tensors: dict[str, list[int]] | None = None, targets: tuple[str, ...] = ()
) -> Shape:
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    vocabulary = config.get("vocab_size", 0)
    intermediate = config.get("intermediate_size") or 4 * hidden
    tensors = tensors or _like_llama(config, hidden, layers, vocabulary, intermediate)
    linear = head = embedding = other = per_rank = 0
    for name, size in tensors.items():
        module = _last(name)
        if len(size) != 2 or not name.endswith(".weight"):
            other += prod(size)
            continue
        if _embedding(name):
            embedding += prod(size)
            continue
        if module in _HEADS:
            head += prod(size)
        else:
            linear += prod(size)
        if module in targets if targets else module not in _NOT_TUNED:
            per_rank += sum(size)
    return Shape(
        linear=linear,
        head=head,
        embedding=embedding,
        other=other,
        lora_per_rank=per_rank,
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        heads=config.get("num_attention_heads") or max(1, hidden // 128),
        vocabulary=vocabulary,
        positions=config.get("max_position_embeddings") or 0,
        # InternLM2's own code defaults to eager attention; transformers' models default to sdpa.
        attention=config.get("attn_implementation") or ("eager" if config.get("auto_map") else "sdpa"),
        dtype=config.get("torch_dtype"),
    )


def layers(model: Path) -> frozenset[str]:
    """Return the names of the linear layers, such as `model.layers.0.attention.wqkv`, without head and embeddings.

    Empty if the headers of the weights do not name them.
    """
    return frozenset(
        name.removesuffix(".weight")
        for name, size in _tensors(model).items()
        if name.endswith(".weight") and len(size) == 2 and not _embedding(name) and _last(name) not in _HEADS
    )


def readers(model: Path) -> tuple[str, ...]:
    """Return the last names of the feed-forward layers that read the hidden state, as `w1` and `w3` of InternLM2.

    Of a mixture of experts also those of its attention: an expert does not see every token. Empty if the headers of
    the weights do not name them.
    """
    found = layers(model)
    mixture = any("experts" in name.split(".") for name in found)
    within = {name for name in found if mixture or not _ATTENTION.search(name.rpartition(".")[0])}
    return tuple(sorted({name.rpartition(".")[2] for name in within}.difference(_WRITERS)))


def knows_sdpa(model: Path) -> bool:
    """Return whether the model's own code, or transformers' if it has none, supports `sdpa` attention."""
    own = [path for path in model.glob("modeling_*.py") if path.is_file()]
    return not own or any(b"sdpa" in read_start(path, MOST_BYTES) for path in own)


def _last(name: str) -> str:
    """Return the name of a layer from that of its weight: `wqkv` for `model.layers.0.attention.wqkv.weight`."""
    return name.removesuffix(".weight").rpartition(".")[2]


def _embedding(name: str) -> bool:
    return "embed" in name or _last(name) in ("wte", "wpe")


def _tensors(model: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for header in safetensors_headers(model).values():
        if header is None:
            return {}
        found |= {name: tensor["shape"] for name, tensor in header.items()}
    return found


def _like_llama(
    config: dict[str, Any], hidden: int, layers: int, vocabulary: int, intermediate: int
) -> dict[str, list[int]]:
    heads = config.get("num_attention_heads") or 1
    narrow = hidden * (config.get("num_key_value_heads") or heads) // heads
    layer = {
        "q": [hidden, hidden],
        "k": [narrow, hidden],
        "v": [narrow, hidden],
        "o": [hidden, hidden],
        "gate": [intermediate, hidden],
        "up": [intermediate, hidden],
        "down": [hidden, intermediate],
    }
    found = {f"layers.{n}.{name}.weight": size for n in range(layers) for name, size in layer.items()}
    found["embed.weight"] = [vocabulary, hidden]
    if not config.get("tie_word_embeddings"):
        found["lm_head.weight"] = [vocabulary, hidden]
    return found
