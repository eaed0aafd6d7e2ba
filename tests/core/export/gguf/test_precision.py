"""The type of each tensor, chosen as by llama.cpp's quantizer; and that quantizer itself, if available."""

import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader
from gguf.quants import dequantize

from core.export.gguf import llama_cpp
from core.export.gguf.precision import bytes_of, precisions
from core.export.gguf.tensors import Tensor
from core.ground.workspace import PROJECT, Workspace
from tests.core.export.gguf import tiny

PLACE = Path(os.environ.get("XTUNER_STUDIO_LLAMA_CPP") or llama_cpp.place(Workspace(PROJECT / "workspace")))


def tensors(columns=256, layers=16, *more):
    """Return a model's tensors by name; every row has this many numbers."""
    names = ["token_embd.weight", "output_norm.weight", *more]
    names += [
        f"blk.{n}.{part}.weight"
        for n in range(layers)
        for part in ("attn_q", "attn_v", "attn_qkv", "ffn_down", "ffn_norm")
    ]
    return [
        Tensor(name=n, shape=(columns,) if "norm" in n else (8, columns), read=lambda: numpy.zeros(1)) for n in names
    ]


def test_vectors_are_whole_and_matrices_as_the_file_is_called():
    for kind, matrices in (("f16", Type.F16), ("q8_0", Type.Q8_0)):
        found = precisions(tensors(), kind)
        assert {found[name] for name in found if "norm" in name} == {Type.F32}
        assert {found[name] for name in found if "norm" not in name} == {matrices}
    assert precisions(tensors(48), "q8_0")["token_embd.weight"] == Type.F16


def test_four_bits_and_six_for_what_answers_depend_on():
    """Of sixteen layers llama.cpp gives more bits to the first two, the last two, and every third in between."""
    found = precisions(tensors(), "q4_k_m")
    for part in ("attn_v", "attn_qkv", "ffn_down"):
        six = [n for n in range(16) if found[f"blk.{n}.{part}.weight"] == Type.Q6_K]
        assert six == [0, 1, 4, 7, 10, 13, 14, 15], part
    assert {found[f"blk.{n}.attn_q.weight"] for n in range(16)} == {Type.Q4_K}
    # The head has six bits, and so has the embedding if it is the head.
    assert found["token_embd.weight"] == Type.Q6_K
    apart = precisions(tensors(256, 16, "output.weight"), "q4_k_m")
    assert (apart["token_embd.weight"], apart["output.weight"]) == (Type.Q4_K, Type.Q6_K)


@pytest.mark.parametrize(("columns", "four", "six"), [(576, Type.Q5_0, Type.Q8_0), (48, Type.F16, Type.F16)])
def test_rows_that_do_not_divide_get_smaller_blocks(columns, four, six):
    found = precisions(tensors(columns), "q4_k_m")
    assert (found["blk.2.attn_q.weight"], found["blk.0.attn_v.weight"]) == (four, six)


def test_bytes():
    tensor = tensors()[0]
    assert [bytes_of(tensor, kind) for kind in (Type.F16, Type.Q8_0, Type.Q4_K, Type.Q6_K)] == [4096, 2176, 1152, 1680]


WRITE = """
import sys
from pathlib import Path
from core.export.gguf.gguf_file import Prompt, write
from core.export.gguf.quantiser import Quantiser
model, file, place = map(Path, sys.argv[1:])
prompt = Prompt(chat_template=None, begins=False, stops=(3,))
write(model, file, "q4_k_m", prompt, "a name", lambda _count: None, Quantiser(place))
"""


def run(*argv):
    """Run in a separate process: llama.cpp's library stays loaded forever."""
    return subprocess.run(
        [sys.executable, "-c", WRITE, *map(str, argv)], cwd=PROJECT, capture_output=True, text=True, check=False
    )


def model(directory, **broken):
    """Write a tiny Llama whose rows divide into blocks of 256."""
    tiny.write_model(directory, hidden_size=256, intermediate_size=256)
    random = numpy.random.default_rng(3)
    shapes = {name: tuple(256 if n in (64, 96) else n * 4 if n == 32 else n for n in one.shape) for name, one in tiny.tensors_of("LlamaForCausalLM").items()}  # fmt: skip
    made = {name: random.normal(size=shape).astype("float32") for name, shape in shapes.items()} | broken
    tiny.write_safetensors(directory / "model.safetensors", made)
    return made


def test_without_llama_cpp_it_is_said_what_to_do(tmp_path):
    model(tmp_path / "m")
    (tmp_path / "place" / "xllamacpp").mkdir(parents=True)
    done = run(tmp_path / "m", tmp_path / "x.gguf", tmp_path / "place")
    assert done.returncode != 0
    assert "create f16" in done.stderr


@pytest.mark.skipif(
    not llama_cpp.there(PLACE), reason="needs llama.cpp: export gguf --verify fetches it; XTUNER_STUDIO_LLAMA_CPP"
)
def test_llama_cpp_quantises(tmp_path):
    given = model(tmp_path / "m")
    done = run(tmp_path / "m", tmp_path / "x.gguf", PLACE)
    assert done.returncode == 0, done.stderr[-2000:]
    found = {one.name: one for one in GGUFReader(tmp_path / "x.gguf").tensors}
    # With two layers, both have more bits.
    for ours, theirs, kind, off in (
        ("token_embd.weight", "model.embed_tokens.weight", Type.Q4_K, 0.12),
        ("output.weight", "lm_head.weight", Type.Q6_K, 0.03),
        ("blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight", Type.Q6_K, 0.03),
        ("blk.1.ffn_up.weight", "model.layers.1.mlp.up_proj.weight", Type.Q4_K, 0.12),
    ):
        assert found[ours].tensor_type == kind, ours
        back = dequantize(found[ours].data, kind)
        assert back.shape == given[theirs].shape
        error = numpy.sqrt(numpy.mean((back - given[theirs]) ** 2))
        assert 0 < error < off, (ours, error)
