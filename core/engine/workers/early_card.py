"""The GPU and the weights made ready while Python still imports, and weights loaded straight onto the GPU.

Part of `entry`, in the engine's interpreter. Creating a CUDA context takes a second or more and needs no Python: a
thread does it through the driver, and PyTorch uses the same context. Without a GPU, only the weights are read
ahead. As soon as PyTorch is imported, another thread computes on the GPU what will be computed there to aim an adapter,
with numbers of no interest: cuBLAS, cuSOLVER and the kernels are loaded at first use. Changes nothing of what is
trained: adapters are still initialized on the CPU, from the same random numbers.
"""

import contextlib
import ctypes
import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.engine.workers import phases

# Tokens and directions of what is computed to load its code: as many as of the real data.
TOKENS, DIRECTIONS = 1024, 16
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
    return _named(config, "*.safetensors")


def _named(config: str, files: str) -> "list[Path]":
    found = []
    for path in sorted({Path(one) for one in _DIRECTORY.findall(config)}):
        with contextlib.suppress(OSError):
            found += sorted(path.glob(files)) if path.is_dir() else []
    return found


def warm_up(config: str, rank: int) -> "threading.Thread | None":
    """Load the code of GPU number `rank` that aims the adapter of a model named in `config`; None without a GPU.

    To be called when torch is imported.
    """
    import torch

    # Not in the thread: it would wait for what is being imported here.
    from core.engine.workers.directions import directions

    width = next(widths(config), None)
    if not torch.cuda.is_available() or width is None:
        return None

    def work() -> None:
        # Whatever fails here is reported where it is needed.
        with contextlib.suppress(Exception), torch.cuda.device(rank), phases.spending("warm up"):
            compute(f"cuda:{rank}", *width, directions)
            torch.cuda.synchronize(rank)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def widths(config: str) -> "Iterator[tuple[int, int]]":
    """Yield how wide the hidden states and the inner ones of the models named in a config are."""
    for file in _named(config, "config.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(file.read_text(encoding="utf-8"))
            yield int(told["hidden_size"]), int(told["intermediate_size"])


def compute(device: str, hidden: int, inner: int, directions: Any) -> None:
    """Compute on a device what a model's layers and the aiming of its adapter do; draws no random numbers there."""
    import torch
    from torch.nn.functional import linear, silu

    with torch.no_grad():
        states = torch.ones(1, TOKENS, hidden, dtype=torch.bfloat16, device=device)
        for before, after in ((hidden, hidden), (hidden, inner), (inner, hidden)):
            states = linear(silu(states), torch.zeros(after, before, dtype=torch.bfloat16, device=device))
        inputs = states[0].float()
        moments = torch.eye(hidden, device=device).repeat(2, 1, 1)
        for moment in moments:
            moment.addmm_(inputs.T, inputs)
        directions(moments, moments, DIRECTIONS)


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
