"""llama.cpp's own quantization, from the library that also answers: Python's `gguf` lacks the 4-bit types."""

import ctypes
import sys
from pathlib import Path

import gguf
import numpy

from core.ground.errors import WorkFailed


class Quantiser:
    """Quantizes matrices row by row, like llama.cpp's `llama-quantize` without an importance matrix."""

    def __init__(self, place: Path) -> None:
        """Load the llama.cpp at `place`. Raises WorkFailed if it does not load or lacks the function."""
        try:
            sys.path.insert(0, str(place))
            # Its library needs Python's own symbols and initializes itself on import.
            from xllamacpp import xllamacpp

            library = ctypes.CDLL(xllamacpp.__file__)
            library.llama_backend_init()
            self._chunk = library.ggml_quantize_chunk
        except (ImportError, OSError, AttributeError) as error:
            raise WorkFailed(
                f"这台机器上的 llama.cpp 不能量化（{error}）：生成 f16，在家里用 ollama create --quantize q4_K_M",
                f"llama.cpp cannot quantize on this machine ({error}): create f16, then run ollama create --quantize q4_K_M on your computer",
            ) from error
        whole, pointer = ctypes.c_int64, ctypes.c_void_p
        self._chunk.argtypes = [ctypes.c_int, pointer, pointer, whole, whole, whole, pointer]
        self._chunk.restype = ctypes.c_size_t

    def __call__(self, numbers: numpy.ndarray, kind: gguf.GGMLQuantizationType) -> numpy.ndarray:
        """Return the bytes of a float32 matrix as `kind`, by rows."""
        columns = numbers.shape[-1]
        rows = numbers.size // columns
        block, size = gguf.GGML_QUANT_SIZES[kind]
        made = numpy.empty((rows, columns // block * size), dtype=numpy.uint8)
        count = self._chunk(int(kind), numbers.ctypes.data, made.ctypes.data, 0, rows, columns, None)
        assert count == made.nbytes
        return made
