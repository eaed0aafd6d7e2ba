"""The GPU and the weights made ready while Python still imports, and weights loaded straight onto the GPU.

Part of `entry`, in the engine's interpreter. Creating a CUDA context takes a second or more and needs no Python: a
thread does it through the driver, and PyTorch uses the same context. Without a GPU, only the weights are read
ahead. Changes nothing of what is trained: adapters are still initialized on the CPU, from the same random numbers.
"""

import contextlib
import ctypes
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_DIRECTORY = re.compile(r"""['"](/[^'"\n]+)['"]""")


def make_ready(config: str, rank: int) -> threading.Thread:
    """Read the weights of the models named in `config` ahead, and create the context of GPU number `rank`."""

    def work() -> None:
        for file in weights(config):
            with contextlib.suppress(OSError):
                descriptor = os.open(file, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
                os.close(descriptor)
        # Without a driver there is nothing to prepare.
        with contextlib.suppress(OSError, AttributeError):
            driver = ctypes.CDLL("libcuda.so.1")
            device, context = ctypes.c_int(), ctypes.c_void_p()
            if driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(device), rank) == 0:
                driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def weights(config: str) -> "list[Path]":
    """Return the files with weights in the directories that a config names."""
    found = []
    for path in sorted({Path(one) for one in _DIRECTORY.findall(config)}):
        with contextlib.suppress(OSError):
            found += sorted(path.glob("*.safetensors")) if path.is_dir() else []
    return found


def load_onto_card(words: Sequence[str]) -> None:
    """Load models straight onto this process's GPU, unless they are quantized or DeepSpeed divides them."""
    import torch

    if not torch.cuda.is_available() or "--deepspeed" in words:
        return
    from transformers import PreTrainedModel

    plain = PreTrainedModel.from_pretrained.__func__

    def from_pretrained(cls: type, *arguments: Any, **options: Any) -> Any:
        if options.get("device_map") is None and options.get("quantization_config") is None:
            options["device_map"] = {"": torch.cuda.current_device()}
        return plain(cls, *arguments, **options)

    PreTrainedModel.from_pretrained = classmethod(from_pretrained)
