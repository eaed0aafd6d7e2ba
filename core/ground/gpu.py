"""The GPUs as reported by the driver (NVML), and slices of them as reported by `vgpu-smi`. Does not load torch.

NVML reports entire cards and MIG instances. On a card that its provider has sliced (vGPU), only a CUDA process and, if
installed, `vgpu-smi` see the slice.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from core.ground.inherited import inherited

# After no answer within 5 s, it is not called again for this long.
_SILENCE_SECONDS = 60.0
_silent_until = 0.0
_VGPU_GUEST = 2  # NVML_GPU_VIRTUALIZATION_MODE_VGPU
# `|   0  NVIDIA A100-SXM...  00000000:89:00.0 | 36666MiB / 40950MiB    0% /  50% |`
_VGPU_LINE = re.compile(
    r"^\|\s*(?P<index>\d+)\s.*\|\s*(?P<used>\d+)\s*MiB\s*/\s*(?P<total>\d+)\s*MiB"
    r"(?:\s+(?P<load>\d+)\s*%\s*/\s*(?P<share>\d+)\s*%)?",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Device:
    """A card, or a MIG instance of one: the handle to query, and its card."""

    index: int
    instance: int | None
    handle: Any
    card: Any


@cache
def _nvml() -> Any | None:
    """Return the initialized NVML binding; None on a machine without an NVIDIA driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _ask(question: str, *arguments: Any) -> Any | None:
    """Return NVML's answer; None if the query is not supported."""
    nvml = _nvml()
    try:
        return getattr(nvml, question)(*arguments)
    except (nvml.NVMLError, AttributeError):
        return None


def gpus() -> list[dict[str, Any]]:
    """Return NVML's data on each GPU that this process may use; an unreported value is None, never 0.

    `slice` is `mig` for a MIG instance (its memory is its own, temperature and power are the card's, utilization is not
    reported), `vgpu` for a guest's share of a card, else None.
    """
    nvml = _nvml()
    if nvml is None:
        return []
    found = []
    for device in _devices():
        memory = _ask("nvmlDeviceGetMemoryInfo", device.handle)
        mig = device.instance is not None
        rates = None if mig else _ask("nvmlDeviceGetUtilizationRates", device.handle)
        power = _ask("nvmlDeviceGetPowerUsage", device.card)
        guest = _ask("nvmlDeviceGetVirtualizationMode", device.card) == _VGPU_GUEST
        found.append(
            {
                "index": device.index,
                "instance": device.instance,
                "slice": "mig" if mig else "vgpu" if guest else None,
                "name": _ask("nvmlDeviceGetName", device.handle),
                "used_mb": round(memory.used / 2**20) if memory else None,
                "total_mb": round(memory.total / 2**20) if memory else None,
                "utilisation": rates.gpu if rates else None,
                "temperature": _ask("nvmlDeviceGetTemperature", device.card, nvml.NVML_TEMPERATURE_GPU),
                "power_w": round(power / 1000) if power is not None else None,
            }
        )
    return found


def memory_by_process() -> list[dict[int, int]]:
    """Return GPU memory in MB by pid, for each of `gpus()`.

    Processes whose memory the driver does not report (MIG) are missing. Pids are the host's: often none in a container.
    """
    if _nvml() is None:
        return []
    return [
        {
            process.pid: round(process.usedGpuMemory / 2**20)
            for process in _ask("nvmlDeviceGetComputeRunningProcesses", device.handle) or []
            if process.usedGpuMemory is not None
        }
        for device in _devices()
    ]


def vgpu_slices() -> list[dict[str, Any]]:
    """Return what `vgpu-smi` reports about the slices of this machine; empty without the program or a known output.

    Each has `index`, `used_mb`, `total_mb`, and in percent `utilisation` and the `share` of the card's computing power.
    """
    global _silent_until
    program = shutil.which("vgpu-smi")
    if program is None or time.monotonic() < _silent_until:
        return []
    try:
        said = subprocess.run(
            [program], env=inherited(), capture_output=True, text=True, errors="replace", timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        # A program that hangs must not delay every page.
        _silent_until = time.monotonic() + _SILENCE_SECONDS
        return []

    def number(text: str | None) -> int | None:
        return None if text is None else int(text)

    return [
        {
            "index": int(line["index"]),
            "used_mb": int(line["used"]),
            "total_mb": int(line["total"]),
            "utilisation": number(line["load"]),
            "share": number(line["share"]),
        }
        for line in _VGPU_LINE.finditer(said.stdout)
    ]


def driver() -> str | None:
    """Return the NVIDIA driver's version; None without one."""
    nvml = _nvml()
    return nvml.nvmlSystemGetDriverVersion() if nvml else None


def cuda_of_driver() -> str | None:
    """Return the newest CUDA version that the driver supports, such as 12.4; None without a driver."""
    number = _ask("nvmlSystemGetCudaDriverVersion") if _nvml() else None
    return f"{number // 1000}.{number % 1000 // 10}" if number else None


def _devices() -> Iterator[_Device]:
    """Yield the cards and MIG instances that CUDA shows this process: all cards, or those of CUDA_VISIBLE_DEVICES.

    On a card split into MIG instances, CUDA shows only the first unless an instance is named.
    """
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = None if setting is None else [part.strip() for part in setting.split(",") if part.strip()]
    for index in range(_ask("nvmlDeviceGetCount") or 0):
        card = _ask("nvmlDeviceGetHandleByIndex", index)
        uuid = _ask("nvmlDeviceGetUUID", card) or ""
        whole = chosen is None or any(_names(part, index, uuid) for part in chosen)
        instances = list(_instances(card)) if (_ask("nvmlDeviceGetMigMode", card) or [0])[0] else []
        if not instances:
            if whole:
                yield _Device(index=index, instance=None, handle=card, card=card)
            continue
        for number, handle in enumerate(instances):
            named = [_ask("nvmlDeviceGetUUID", handle), _old_name(uuid, handle)]
            if any(part.startswith("MIG-") and part in named for part in chosen or []) or (whole and number == 0):
                yield _Device(index=index, instance=number, handle=handle, card=card)


def _names(part: str, index: int, uuid: str) -> bool:
    """Return whether an entry of CUDA_VISIBLE_DEVICES means the card: its number, or the beginning of its UUID."""
    return part == str(index) or (not part.isdigit() and uuid.startswith(part))


def _instances(card: Any) -> Iterator[Any]:
    for number in range(_ask("nvmlDeviceGetMaxMigDeviceCount", card) or 0):
        handle = _ask("nvmlDeviceGetMigDeviceHandleByIndex", card, number)
        if handle is not None:
            yield handle


def _old_name(card_uuid: str, handle: Any) -> str:
    """Return a MIG instance's name before driver 470: `MIG-GPU-<card's uuid>/<gpu instance>/<compute instance>`."""
    gpu, compute = _ask("nvmlDeviceGetGpuInstanceId", handle), _ask("nvmlDeviceGetComputeInstanceId", handle)
    return f"MIG-{card_uuid}/{gpu}/{compute}"
