"""What is asked of the GPUs, and that a missing answer is told as missing."""

from types import SimpleNamespace

import pytest

from core.ground import gpu


class NVMLError(Exception):
    """As pynvml's."""


class FakeNvml(SimpleNamespace):
    """Two cards that do not report their temperature."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def nvmlDeviceGetCount(self):  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return f"GPU-{handle}abc"

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return f"card {handle}"

    def nvmlDeviceGetMemoryInfo(self, _handle):  # noqa: N802
        return SimpleNamespace(used=2**30, total=8 * 2**30)

    def nvmlDeviceGetUtilizationRates(self, _handle):  # noqa: N802
        return SimpleNamespace(gpu=37)

    def nvmlDeviceGetPowerUsage(self, _handle):  # noqa: N802
        raise NVMLError

    def nvmlDeviceGetTemperature(self, *_arguments):  # noqa: N802
        raise NVMLError


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["card 0", "card 1"]),
        ("1", ["card 1"]),
        ("", []),
        ("GPU-0a", ["card 0"]),
        ("0,1", ["card 0", "card 1"]),
    ],
)
def test_gpus_that_this_process_may_use(monkeypatch, visible, names):
    monkeypatch.setattr(gpu, "_nvml", FakeNvml)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = gpu.gpus()
    assert [card["name"] for card in found] == names
    for card in found:
        assert (card["used_mb"], card["total_mb"], card["utilisation"]) == (1024, 8192, 37)
        assert card["temperature"] is None
        assert card["power_w"] is None


def test_no_driver_is_no_gpu(monkeypatch):
    monkeypatch.setattr(gpu, "_nvml", lambda: None)
    assert gpu.gpus() == []
    assert gpu.driver() is None
