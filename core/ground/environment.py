"""The machine: Python, packages, disk, memory. Asks without importing torch or XTuner; its GPUs are asked by `gpu`."""

import importlib.metadata
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from core.ground.gpu import gpus
from core.ground.text import Text

PACKAGES = (
    "streamlit",
    "xtuner",
    "torch",
    "transformers",
    "peft",
    "datasets",
    "deepspeed",
    "bitsandbytes",
    "mmengine",
    "plotly",
    "psutil",
)
FREE_DISK_GB = 2.0
FREE_MEMORY_GB = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One look at the machine: what was found, whether it will do, and what to do if not."""

    name: str
    ok: bool
    value: str
    hint: Text | None = None


def versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that the work stands on; None for one that is missing."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def checks(root: Path) -> list[Check]:
    """What a beginner should know of the machine before starting, for a workspace at `root`."""
    found = versions()
    free = shutil.disk_usage(root).free / 1e9
    memory = psutil.virtual_memory()
    cards = gpus()
    result = [
        Check(
            name="python",
            ok=platform.python_version_tuple()[:2] in (("3", "11"), ("3", "12")),
            value=found["python"] or "",
            hint=Text("请使用 Python 3.11 或 3.12", "use Python 3.11 or 3.12"),
        ),
        *(
            Check(
                name=package,
                ok=found[package] is not None,
                value=found[package] or "-",
                hint=Text("请运行 make run 重新安装依赖", "run make run, which installs what is missing"),
            )
            for package in PACKAGES
        ),
        Check(
            name="disk",
            ok=free >= FREE_DISK_GB,
            value=f"{free:.1f} GB",
            hint=Text(
                f"{root} 所在磁盘至少需要 {FREE_DISK_GB:.0f} GB 可用空间，请清理或更换工作目录",
                f"the disk of {root} needs at least {FREE_DISK_GB:.0f} GB free: clean up, or choose another workspace",
            ),
        ),
        Check(
            name="memory",
            ok=memory.available / 1e9 >= FREE_MEMORY_GB,
            value=f"{memory.available / 1e9:.1f} / {memory.total / 1e9:.1f} GB",
            hint=Text("可用内存太少，请关闭其他程序", "too little free memory: close other programs"),
        ),
        Check(
            name="gpu",
            # Not a fault: everything works on the demo model without one.
            ok=True,
            value=", ".join(f"{card['name']} {card['total_mb']} MB" for card in cards) or "-",
            hint=None
            if cards
            else Text(
                "没有 NVIDIA 显卡：示例模型可在 CPU 上走完全部流程，1.8B 模型需要显卡",
                "no NVIDIA GPU: the demo model does the whole workflow on the CPU, the 1.8B model needs one",
            ),
        ),
    ]
    return [
        Check(name=c.name, ok=c.ok, value=c.value, hint=c.hint if not c.ok or c.name == "gpu" else None) for c in result
    ]
