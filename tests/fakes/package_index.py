"""A Python package index on 127.0.0.1 with one wheel, which contains a GGUF file of a few kilobytes and its license.

It can be slow, and send a wrong wheel.
"""

import hashlib
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize

from core.models.packaged.package import Package

HIDDEN, HEADS, LAYERS, CONTEXT = 32, 4, 2, 128
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"


def tokens() -> tuple[list[str], list[str]]:
    """Return control tokens, the 256 bytes in GPT-2's alphabet, and one merge."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = [*map(chr, printable), *(chr(256 + n) for n in range(len(rest)))]
    return ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "19"], ["1 9"]


def as_llama_cpp(rows: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Reorder the rows of a query or key projection like llama.cpp's own conversion (`permute` there)."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def tensors() -> dict[str, numpy.ndarray]:
    """Return the weights with transformers' names."""
    chance = numpy.random.default_rng(5)
    made = {"model.embed_tokens.weight": (len(tokens()[0]), HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        for name, shape in {
            "input_layernorm": (HIDDEN,),
            "post_attention_layernorm": (HIDDEN,),
            "self_attn.q_proj": (HIDDEN, HIDDEN),
            "self_attn.k_proj": (HIDDEN // 2, HIDDEN),
            "self_attn.v_proj": (HIDDEN // 2, HIDDEN),
            "self_attn.o_proj": (HIDDEN, HIDDEN),
            "mlp.gate_proj": (64, HIDDEN),
            "mlp.up_proj": (64, HIDDEN),
            "mlp.down_proj": (HIDDEN, 64),
        }.items():
            made[f"model.layers.{layer}.{name}.weight"] = shape
    return {name: chance.normal(size=shape).astype("float32") for name, shape in made.items()}


def write_gguf(path: Path, *, pre: str = "smollm", architecture: str = "llama") -> None:
    """Write a tiny Llama; its embedding is quantized like the real one's."""
    writer = GGUFWriter(path, architecture)
    writer.add_array("general.languages", ["en"])
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(64)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_rope_freq_base(100000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    words, merges = tokens()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(words)
    writer.add_token_types([3] * 3 + [1] * (len(words) - 3))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    theirs = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "input_layernorm": "attn_norm"}
    theirs |= {"post_attention_layernorm": "ffn_norm", "self_attn.o_proj": "attn_output", "model.layers": "blk"}
    theirs |= {f"self_attn.{part}_proj": f"attn_{part}" for part in "qkv"}
    theirs |= {f"mlp.{part}_proj": f"ffn_{part}" for part in ("gate", "up", "down")}
    for name, values in tensors().items():
        short = name
        for old, new in theirs.items():
            short = short.replace(old, new)
        if "q_proj" in name or "k_proj" in name:
            values = as_llama_cpp(values, HEADS if "q_proj" in name else HEADS // 2)
        if name == "model.embed_tokens.weight":
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(short, quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(short, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_wheel(directory: Path, **options: str) -> tuple[Path, Package]:
    """Write a wheel with such a file in it; return it and its package."""
    directory.mkdir(parents=True, exist_ok=True)
    gguf, wheel = directory / "tiny.gguf", directory / "tiny_model-1.0-py3-none-any.whl"
    write_gguf(gguf, **options)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(gguf, "tiny_model/tiny.gguf")
        archive.writestr("tiny_model/padding.bin", bytes(400_000))
        info = "tiny_model-1.0.dist-info"
        archive.writestr(f"{info}/LICENSE", "Apache License, Version 2.0\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: not-there\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    content = wheel.read_bytes()
    return wheel, Package(
        name="tiny-model",
        version="1.0",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        model="Somebody/Tiny-Instruct",
        license="Apache-2.0",
        url="https://example.org/tiny",
    )


class Index:
    """What the index serves, how slowly, and the requests it received."""

    def __init__(self, wheel: Path) -> None:
        self.wheel = wheel
        self.wrong = False
        self.seconds_per_block = 0.0
        self.address = ""
        self.asked: list[str] = []


@contextmanager
def serve(index: Index) -> Iterator[Index]:
    """Serve `index` at `index.address` during the block."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:  # noqa: N802
            index.asked.append(self.path)
            if self.path.endswith(".whl"):
                content = index.wheel.read_bytes()
                content = content[:-1] + b"?" if index.wrong else content
                kind = "application/octet-stream"
            elif self.path.rstrip("/").endswith("tiny-model"):
                content = f'<a href="/files/{index.wheel.name}">{index.wheel.name}</a>'.encode()
                kind = "text/html"
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for start in range(0, len(content), 16_384):
                self.wfile.write(content[start : start + 16_384])
                time.sleep(index.seconds_per_block)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.address = f"http://127.0.0.1:{server.server_port}/simple/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
