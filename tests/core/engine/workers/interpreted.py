"""Runs Triton's kernels without a GPU, by Triton's own interpreter. Import it before the kernels, in a process of its own.

The interpreter of Triton 3.1 reads and writes memory through its C++ part, which does nothing with NumPy 2.4's arrays;
here the two functions are in NumPy. It also takes an array of one number for a number, as NumPy did before 2.4.
"""

import ctypes
import os
from types import SimpleNamespace

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
from triton.runtime import interpreter


def _memory(pointers, size):
    """Return the bytes from the lowest to the highest pointer, and which of them each pointer's value has."""
    low = int(pointers.min())
    count = int(pointers.max()) - low + size
    there = np.ctypeslib.as_array((ctypes.c_uint8 * count).from_address(low))
    return there, (pointers.astype(np.int64) - low)[..., None] + np.arange(size)


def load(pointers, mask, other, kind):
    found = np.zeros(pointers.shape, kind)
    if other is not None:
        found[...] = other
    mask = np.broadcast_to(mask, pointers.shape).astype(bool)
    if mask.any():
        there, places = _memory(pointers[mask], np.dtype(kind).itemsize)
        found[mask] = np.ascontiguousarray(there[places]).view(kind)[..., 0]
    return found


def store(pointers, value, mask):
    mask = np.broadcast_to(mask, pointers.shape).astype(bool)
    if mask.any():
        value = np.ascontiguousarray(np.broadcast_to(value, pointers.shape)[mask])
        there, places = _memory(pointers[mask], value.itemsize)
        there[places] = value[..., None].view(np.uint8).reshape(places.shape)


def number(tensor):
    return int(np.asarray(tensor.handle.data).reshape(-1)[0])


_patch = interpreter._patch_lang_tensor


def patch(tensor, *arguments):
    _patch(tensor, *arguments)
    tensor.__index__ = number


interpreter._patch_lang_tensor = patch
native = {name: getattr(interpreter._interpreter, name) for name in dir(interpreter._interpreter)}
interpreter._interpreter = SimpleNamespace(**native | {"load": load, "store": store})
