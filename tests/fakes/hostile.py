"""Malicious model directories: each is a complete one in which a file was replaced."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

from tests.fakes.model import write_model

DEEP = "[" * 200_000


def _text(name: str, text: str) -> Callable[[Path], object]:
    return lambda place: (place / name).write_text(text)


def _pipe(name: str) -> Callable[[Path], object]:
    def put(place: Path) -> None:
        (place / name).unlink(missing_ok=True)
        os.mkfifo(place / name)

    return put


def _link(name: str, to: str) -> Callable[[Path], object]:
    def put(place: Path) -> None:
        (place / name).unlink(missing_ok=True)
        (place / name).symlink_to(to)

    return put


def _directory(name: str) -> Callable[[Path], object]:
    def put(place: Path) -> None:
        (place / name).unlink(missing_ok=True)
        (place / name).mkdir()

    return put


def _holes(name: str, size: int) -> Callable[[Path], object]:
    """A sparse file of this size, which takes no disk space."""

    def put(place: Path) -> None:
        with (place / name).open("ab") as file:
            file.truncate(size)

    return put


def _settings(**values: object) -> Callable[[Path], object]:
    def put(place: Path) -> None:
        config = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps({**config, **values}))

    return put


def _header(header: object, size: int = 0, length: int | None = None) -> Callable[[Path], object]:
    encoded = json.dumps(header).encode() if not isinstance(header, bytes) else header
    said = struct.pack("<Q", len(encoded) if length is None else length)
    return lambda place: (place / "model.safetensors").write_bytes(said + encoded + bytes(size))


def _tensor(shape: object, offsets: object, dtype: object = "F32") -> dict[str, object]:
    return {"x.weight": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


READ = ("config.json", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "chat_template.jinja")
READ += ("generation_config.json", "README.md", "model.safetensors", "model.safetensors.index.json")
READ += ("modeling_internlm2.py", "adapter_config.json", "quantize_config.json", "pytorch_model.bin.index.json")
ZOO: dict[str, Callable[[Path], object]] = {
    **{f"a pipe: {name}": _pipe(name) for name in READ},
    **{f"no end: {name}": _link(name, "/dev/zero") for name in READ},
    **{f"a loop: {name}": _link(name, name) for name in READ},
    **{f"a directory: {name}": _directory(name) for name in READ},
    **{f"deep: {name}": _text(name, DEEP) for name in READ if name.endswith(".json")},
    **{f"huge: {name}": _holes(name, 8 << 30) for name in READ},
    "sizes: text": _settings(hidden_size="16", num_hidden_layers=[2], vocab_size={}),
    "sizes: negative": _settings(hidden_size=-16, num_hidden_layers=-2, vocab_size=-1),
    "sizes: no numbers": _settings(hidden_size=float("nan"), num_hidden_layers=float("inf"), vocab_size=float("-inf")),
    "sizes: beyond": _settings(hidden_size=10**400, num_hidden_layers=10**9, vocab_size=1e308),
    "sizes: none": _settings(hidden_size=0, num_hidden_layers=0, num_attention_heads=0),
    "sizes: true": _settings(hidden_size=True, num_hidden_layers=True),
    "heads of text": _settings(num_attention_heads="x", num_key_value_heads=[], max_position_embeddings="y"),
    "names: numbers": _settings(architectures=[1, None], model_type=3, torch_dtype=[]),
    "names: long": _settings(architectures=["A" * 10**6], model_type="b" * 10**6, torch_dtype="c" * 10**6),
    "quantised by a list": _settings(quantization_config=[1], compression_config="x"),
    "auto_map of everything": _settings(auto_map=[[{"a": [None, 3, {"auto_map": "x"}]}]]),
    "a name of another": _settings(_name_or_path=["x"]),
    "digits": _text("config.json", '{"hidden_size": ' + "9" * 100_000 + "}"),
    "half a character": lambda place: (place / "config.json").write_bytes(b'{"model_type": "\xff\xfe'),
    "zeros": lambda place: (place / "config.json").write_bytes(bytes(10_000)),
    "header: too long": _header({}, length=2**62),
    "header: a list": _header([1, 2]),
    "header: of lists": _header({"x": [1, 2]}),
    "header: deep": _header(DEEP.encode()),
    "header: short": lambda place: (place / "model.safetensors").write_bytes(b"\1\2"),
    "shape: negative": _header(_tensor([-1, -4], [0, 16]), 16),
    "shape: no numbers": _header(_tensor([float("nan")], [0, float("nan")]), 16),
    "shape: text": _header(_tensor("ab", [0, 16]), 16),
    "shape: of many axes": _header(_tensor([2**62] * 100_000, [0, 16]), 16),
    "shape: more than there is": _header(_tensor([10**30, 10**30], [0, 16]), 16),
    "offsets: backwards": _header(_tensor([4], [16, 0]) | {"y": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, 16),
    "offsets: one": _header(_tensor([4], [16]), 16),
    "dtype: a list": _header(_tensor([4], [0, 16], ["F32"]), 16),
    "index: a list": _text("model.safetensors.index.json", "[1]"),
    "index: of lists": _text("model.safetensors.index.json", '{"weight_map": {"x": ["model.safetensors"], "y": 3}}'),
    "index: out of it": _text("model.safetensors.index.json", '{"weight_map": {"x": "../../../etc/passwd", "y": ".."}}'),
    "index: of a hundred thousand files": _text(
        "model.safetensors.index.json", json.dumps({"weight_map": {f"t{n}": f"s{n}.safetensors" for n in range(100_000)}})
    ),
    "index: metadata of text": _text("model.safetensors.index.json", '{"metadata": {"total_size": NaN}, "weight_map": {}}'),
    "template: without end": _text("chat_template.jinja", "{% for i in range(99999999) %}{{ 'x' * 9999 }}{% endfor %}"),
    "tokens: of lists": _text("tokenizer_config.json", '{"bos_token": [1], "added_tokens_decoder": [2], "chat_template": [[3]]}'),
    "tokens: a number": _text("special_tokens_map.json", "3"),
    "added: text": _text("tokenizer.json", '{"added_tokens": "x"}'),
}  # fmt: skip


def hostile_model(place: Path, kind: str) -> Path:
    """Create a directory of this kind of the zoo at `place`."""
    write_model(place)
    ZOO[kind](place)
    return place
