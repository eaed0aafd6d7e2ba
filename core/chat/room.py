"""Checks whether there is enough free memory for the models of a chat now, also during a run, and says why not.

Asks the system and the driver. On a slice of a GPU only a CUDA process sees the free memory: the worker checks again.
"""

from dataclasses import dataclass
from typing import Literal

import psutil

from core.ground.errors import BadInput
from core.ground.figures import MB, size
from core.ground.gpu import gpus
from core.ground.workspace import Workspace
from core.models.model import Model
from core.training import run as runs

Device = Literal["auto", "cuda", "cpu"]
# Needed in addition to the weights: libraries (in memory), CUDA's context and the caches (on a GPU).
_BESIDE = {"cpu": 1.0e9, "cuda": 1.0e9}
# Kept free for the next evaluation or checkpoint of a run.
_FOR_TRAINING = {"cpu": 0.5e9, "cuda": 1.5e9}


class NoRoom(BadInput):
    """Not enough free memory for the chat at the moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The memory that the chat needs and what is free, in bytes, on `device`; `training` is the current run on this machine."""

    device: Literal["cuda", "cpu"]
    needed: float
    free: float
    training: str | None

    @property
    def fits(self) -> bool:
        return self.free >= self.needed


def room(workspace: Workspace, model: Model, device: Device = "auto") -> Room:
    """Return the room for `model` on `device`; `auto` prefers a GPU."""
    cards = gpus() if device != "cpu" else []
    where: Literal["cuda", "cpu"] = "cuda" if cards else "cpu"
    training = runs.running_here(workspace)
    needed = 1.15 * model.bytes + _BESIDE[where] + (_FOR_TRAINING[where] if training else 0.0)
    free = float(psutil.virtual_memory().available)
    if cards:
        known = [c for c in cards if c["total_mb"] is not None and c["used_mb"] is not None]
        # If the driver does not report it, the worker checks.
        free = (known[0]["total_mb"] - known[0]["used_mb"]) * MB if known else float("inf")
    return Room(device=where, needed=needed, free=free, training=training.id if training else None)


def check_room(workspace: Workspace, model: Model, device: Device = "auto") -> Room:
    """Like `room`; raises NoRoom with the next step if it does not fit."""
    found = room(workspace, model, device)
    if found.fits:
        return found
    needed, free = size(found.needed), size(found.free)
    kind_zh, kind = ("显存", "GPU memory") if found.device == "cuda" else ("内存", "memory")
    why_zh, why = "", ""
    if found.training:
        why_zh, why = f"训练 {found.training} 正在进行，", f"the run {found.training} is training, and "
    do_zh, do = (
        ("等它结束", "wait until it has finished") if found.training else ("关闭其他程序", "close other programs")
    )
    if found.device == "cuda":
        do_zh, do = f"{do_zh}，或改在 CPU 上加载", f"{do}, or load it on the CPU"
    raise NoRoom(
        f"{why_zh}{kind_zh}只剩 {free}，对话模型需要 {needed}：{do_zh}",
        f"{why}only {free} of {kind} free, and chat needs {needed}: {do}",
    )
