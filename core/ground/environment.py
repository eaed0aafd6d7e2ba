"""Checks of the machine: Python, packages, disk, memory.

Imports neither torch nor XTuner; GPUs are queried by `gpu`.
"""

import importlib.metadata
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from core.ground import known_versions
from core.ground.figures import GB, MB, size, size_of_mb
from core.ground.gpu import cuda_of_driver, driver, gpus, vgpu_slices
from core.ground.text import Text

PACKAGES = (
    "streamlit",
    "xtuner",
    "torch",
    "torchvision",
    "transformers",
    "peft",
    "datasets",
    "deepspeed",
    "bitsandbytes",
    "mmengine",
    "plotly",
    "psutil",
)
# The packages that the engine provides if it has its own environment.
ENGINE_PACKAGES = frozenset(PACKAGES) - {"streamlit", "plotly", "psutil"} | {
    "torchvision",
    "numpy",
    "accelerate",
    "setuptools",
}
FREE_DISK = 2 * GB
# Dataset, checkpoints, adapter and merged model for a 1.8B model.
COURSE_DISK = 10 * GB
# CUDA 12's minor versions run on any driver of its first: docs.nvidia.com/deploy/cuda-compatibility.
OLDEST_DRIVER = 525
FREE_MEMORY = 3 * GB


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of the machine: what was found, whether it is sufficient, and what to do if not."""

    name: str
    ok: bool
    value: str
    hint: Text | None = None


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages we depend on; None for a missing one."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def checks(
    root: Path,
    *,
    engine: Mapping[str, str | None] | None = None,
    torch_cuda: str | None = None,
    seen: Sequence[Mapping[str, Any]] | None = None,
) -> list[Check]:
    """Return what a beginner should know about the machine before starting, for a workspace at `root`.

    `engine` are the package versions of the engine (default: the app's own), `torch_cuda` the CUDA of its torch, `seen`
    the devices that a CUDA process of it saw: name, free and total bytes; None if none has checked.
    """
    own = versions()
    found = own | {package: version for package, version in (engine or {}).items() if package in ENGINE_PACKAGES}
    return [
        _python(own["python"] or ""),
        *(_package(package, found) for package in PACKAGES),
        _disk(root),
        _memory(),
        _gpu(seen),
        _driver(),
        _cuda(torch_cuda, seen),
    ]


def _python(version: str) -> Check:
    ok = version.split(".")[:2] in (["3", "11"], ["3", "12"])
    return Check(
        name="python",
        ok=ok,
        value=version,
        hint=None if ok else Text("请使用 Python 3.11 或 3.12", "use Python 3.11 or 3.12"),
    )


def _package(package: str, found: Mapping[str, str | None]) -> Check:
    version = found.get(package)
    if version is None:
        missing = Text("请运行 make run 重新安装依赖", "run make run to install what is missing")
        return Check(name=package, ok=False, value="-", hint=missing)
    fails = known_versions.clash(package, found)
    hint = fails or known_versions.untested(package, found)
    return Check(name=package, ok=fails is None, value=version, hint=hint)


def _disk(root: Path) -> Check:
    usage = shutil.disk_usage(root)
    ok = usage.free >= FREE_DISK
    hint = None
    if not ok:
        hint = Text(
            f"{root} 所在磁盘至少需要 {size(FREE_DISK)} 可用空间，请清理或更换工作目录",
            f"the disk of {root} needs at least {size(FREE_DISK)} free: free some space, or use another workspace",
        )
    elif usage.free < COURSE_DISK:
        hint = Text(
            f"够用示例模型；1.8B 模型的合并结果另需约 4 GB，建议留出 {size(COURSE_DISK)}",
            f"enough for the demo model; a merged 1.8B model needs 4 GB more, so keep {size(COURSE_DISK)} free",
        )
    return Check(name="disk", ok=ok, value=f"{size(usage.free)} / {size(usage.total)}", hint=hint)


def _memory() -> Check:
    memory = psutil.virtual_memory()
    ok = memory.available >= FREE_MEMORY
    return Check(
        name="memory",
        ok=ok,
        value=f"{size(memory.available)} / {size(memory.total)}",
        hint=None if ok else Text("可用内存太少，请关闭其他程序", "not enough free memory: close other programs"),
    )


def _gpu(seen: Sequence[Mapping[str, Any]] | None) -> Check:
    """Check the GPUs, each with the memory that is really available: a slice's own if it is one."""
    cards, slices = gpus(), {found["index"]: found for found in vgpu_slices()}
    words, sliced = [], False
    for card in cards:
        total, kind = card["total_mb"], card.get("slice")
        device = next((one for one in seen or () if one["index"] == len(words)), None)
        truth = slices.get(card["index"], {}).get("total_mb") or (round(device["total"] / MB) if device else None)
        if truth and total and truth < 0.9 * total:
            kind, words_of = kind or "vgpu", f"{size_of_mb(truth)} / {size_of_mb(total)}"
        else:
            words_of = size_of_mb(total) if total else "-"
        sliced = sliced or kind is not None
        words.append(f"{card['name']} {words_of}" + (f" ({kind.upper()})" if kind else ""))
    hint = None
    if not cards:
        # Not an error: everything works with the demo model without one.
        hint = Text(
            "没有 NVIDIA 显卡：示例模型可在 CPU 上走完全部流程，1.8B 模型需要显卡",
            "no NVIDIA GPU: the demo model runs the whole workflow on the CPU; the 1.8B model needs a GPU",
        )
    elif sliced:
        hint = Text(
            "只分到显卡的一部分：以切片的显存为准，nvidia-smi 显示的可能是整张卡",
            "this is a slice of a GPU: only its own memory is available; nvidia-smi may show the entire card",
        )
    return Check(name="gpu", ok=True, value=", ".join(words) or "-", hint=hint)


def _driver() -> Check:
    version = driver()
    ok = version is None or int(version.split(".")[0]) >= OLDEST_DRIVER
    return Check(
        name="driver",
        ok=ok,
        value=version or "-",
        hint=None
        if ok
        else Text(
            f"驱动太旧：CUDA 12 至少需要 {OLDEST_DRIVER}，请升级驱动",
            f"the driver is too old: CUDA 12 needs {OLDEST_DRIVER} or newer",
        ),
    )


def _cuda(torch_cuda: str | None, seen: Sequence[Mapping[str, Any]] | None) -> Check:
    """Compare torch's CUDA version with the newest that the driver supports."""
    of_driver = cuda_of_driver()
    value = " / ".join((torch_cuda or "-", of_driver or "-"))
    if of_driver is None:
        return Check(name="cuda", ok=True, value=value)
    if torch_cuda is None:
        hint = Text(
            "这个 torch 是 CPU 版，用不了显卡：请安装 CUDA 版",
            "this CPU build of torch cannot use the GPU: install the CUDA build",
        )
        return Check(name="cuda", ok=False, value=value, hint=hint)
    if int(torch_cuda.split(".")[0]) > int(of_driver.split(".")[0]):
        hint = Text(
            f"torch 的 CUDA {torch_cuda} 比驱动支持的 {of_driver} 新：升级驱动，或安装对应的 torch",
            f"torch's CUDA {torch_cuda} is newer than the driver's {of_driver}: update the driver, or install a matching torch",
        )
        return Check(name="cuda", ok=False, value=value, hint=hint)
    if seen is not None and not seen:
        hint = Text(
            "驱动在，但 torch 看不到显卡：检查 CUDA_VISIBLE_DEVICES 和容器的显卡权限",
            "the driver is installed but torch finds no GPU: check CUDA_VISIBLE_DEVICES and whether the container has access to the GPU",
        )
        return Check(name="cuda", ok=False, value=value, hint=hint)
    return Check(name="cuda", ok=True, value=value)
