"""The GPUs, as the driver (NVML) tells of them. Loads no torch.

NVML tells of whole cards; on a sliced card (vGPU) only a CUDA process sees the slice.
"""

import os
from functools import cache
from typing import Any


@cache
def _nvml() -> Any | None:
    """The NVML binding, ready; None on a machine without an NVIDIA driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def gpus() -> list[dict[str, Any]]:
    """What NVML says of each GPU that this process may use; a value it does not report is None, never 0."""
    nvml = _nvml()
    if nvml is None:
        return []

    def ask(question: str, *arguments: Any) -> Any | None:
        try:
            return getattr(nvml, question)(*arguments)
        except nvml.NVMLError:
            return None

    found = []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    for index in range(ask("nvmlDeviceGetCount") or 0):
        handle = ask("nvmlDeviceGetHandleByIndex", index)
        if visible is not None and not _visible(index, ask("nvmlDeviceGetUUID", handle), visible):
            continue
        memory, rates = ask("nvmlDeviceGetMemoryInfo", handle), ask("nvmlDeviceGetUtilizationRates", handle)
        power = ask("nvmlDeviceGetPowerUsage", handle)
        found.append(
            {
                "index": index,
                "name": ask("nvmlDeviceGetName", handle),
                "used_mb": round(memory.used / 2**20) if memory else None,
                "total_mb": round(memory.total / 2**20) if memory else None,
                "utilisation": rates.gpu if rates else None,
                "temperature": ask("nvmlDeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU),
                "power_w": round(power / 1000) if power is not None else None,
            }
        )
    return found


def _visible(index: int, uuid: str | None, setting: str) -> bool:
    chosen = [part.strip() for part in setting.split(",") if part.strip()]
    return (
        str(index) in chosen
        or any(uuid and uuid.startswith(part) for part in chosen if not part.isdigit())
        or any(part.startswith("MIG-") for part in chosen)
    )


def driver() -> str | None:
    """The NVIDIA driver's version; None without one."""
    nvml = _nvml()
    return nvml.nvmlSystemGetDriverVersion() if nvml else None
