"""The precision of each tensor in a GGUF file, by the kind of file: `f16`, `q8_0`, `q4_k_m`.

For `q4_k_m` the choice is llama.cpp's own: six bits for the tensors that answers depend on most, four for the others;
if rows do not divide into blocks, the next larger type with smaller blocks.
"""

from collections.abc import Sequence

import gguf
from gguf import GGMLQuantizationType as Type

from core.export.gguf.tensors import Tensor

# llama.cpp's number of each kind of file.
FILE_TYPES = {
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q4_k_m": gguf.LlamaFileType.MOSTLY_Q4_K_M,
}
# Replacement for a type whose blocks do not divide a row.
_SMALLER_BLOCKS = {Type.Q4_K: Type.Q5_0, Type.Q6_K: Type.Q8_0, Type.Q5_0: Type.F16, Type.Q8_0: Type.F16}
_SENSITIVE = ("attn_v.weight", "attn_qkv.weight", "ffn_down.weight")


def precisions(tensors: Sequence[Tensor], kind: str) -> dict[str, Type]:
    """Return the type of each tensor by name. Vectors are small and always float32."""
    found = {}
    blocks = [_block(one) for one in tensors]
    layers = 1 + max((block for block in blocks if block is not None), default=0)
    head = "output.weight" if any(one.name == "output.weight" for one in tensors) else "token_embd.weight"
    for one, block in zip(tensors, blocks, strict=True):
        if len(one.shape) < 2:
            found[one.name] = Type.F32
        elif kind == "f16":
            found[one.name] = Type.F16
        elif kind == "q8_0":
            found[one.name] = _fitting(one, Type.Q8_0)
        elif one.name == head:
            found[one.name] = _fitting(one, Type.Q6_K)
        elif one.name.endswith(_SENSITIVE) and block is not None and _more_bits(block, layers):
            found[one.name] = _fitting(one, Type.Q6_K)
        else:
            found[one.name] = _fitting(one, Type.Q4_K)
    return found


def bytes_of(tensor: Tensor, kind: Type) -> int:
    """Return the bytes that a tensor takes."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    return tensor.number // block * size


def _fitting(tensor: Tensor, kind: Type) -> Type:
    while tensor.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        kind = _SMALLER_BLOCKS[kind]
    return kind


def _more_bits(layer: int, layers: int) -> bool:
    """Return whether a layer gets more bits: the first and the last eighth, and every third one in between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def _block(tensor: Tensor) -> int | None:
    """Return the layer of a tensor; None if it belongs to none."""
    parts = tensor.name.split(".")
    return int(parts[1]) if parts[0] == "blk" else None
