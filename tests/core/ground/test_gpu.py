"""What is asked of the GPUs, and that missing values are reported as missing."""

from types import SimpleNamespace

import pytest

from core.ground import gpu


class NVMLError(Exception):
    """Like pynvml's."""


class FakeNvml(SimpleNamespace):
    """Two GPUs that do not report their temperature; those in `mig` are split into two instances each."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0
    mig = frozenset()
    guest = False

    def nvmlDeviceGetCount(self):  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return f"MIG-{handle[0]}-{handle[1]}" if isinstance(handle, tuple) else f"GPU-{handle}abc"

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return f"card {handle[0]} MIG 1g.5gb" if isinstance(handle, tuple) else f"card {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        return SimpleNamespace(used=2**30, total=(5 if isinstance(handle, tuple) else 8) * 2**30)

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        # Some drivers answer 0 for an instance, although nothing was measured.
        return SimpleNamespace(gpu=0 if isinstance(handle, tuple) else 37)

    def nvmlDeviceGetPowerUsage(self, _handle):  # noqa: N802
        raise NVMLError

    def nvmlDeviceGetTemperature(self, *_arguments):  # noqa: N802
        raise NVMLError

    def nvmlDeviceGetMigMode(self, card):  # noqa: N802
        return [int(card in self.mig), 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, _card):  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card, number):  # noqa: N802
        if number > 1:
            raise NVMLError
        return card, number

    def nvmlDeviceGetGpuInstanceId(self, handle):  # noqa: N802
        return handle[1] + 3

    def nvmlDeviceGetComputeInstanceId(self, _handle):  # noqa: N802
        return 0

    def nvmlDeviceGetVirtualizationMode(self, _card):  # noqa: N802
        return 2 if self.guest else 0

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        if isinstance(handle, tuple):
            return [SimpleNamespace(pid=7, usedGpuMemory=None)]
        return [SimpleNamespace(pid=7, usedGpuMemory=2**30), SimpleNamespace(pid=8 + handle, usedGpuMemory=2**20)]


@pytest.fixture
def nvml(monkeypatch):
    """The fake driver, which tests may change."""
    fake = FakeNvml()
    monkeypatch.setattr(gpu, "_nvml", lambda: fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


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
@pytest.mark.usefixtures("nvml")
def test_gpus_that_this_process_may_use(monkeypatch, visible, names):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = gpu.gpus()
    assert [card["name"] for card in found] == names
    for card in found:
        assert (card["used_mb"], card["total_mb"], card["utilisation"]) == (1024, 8192, 37)
        assert card["temperature"] is None
        assert card["power_w"] is None
        assert card["slice"] is None


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        # CUDA shows the first instance of a GPU if none is named.
        (None, [(0, 0), (1, None)]),
        ("1", [(1, None)]),
        ("MIG-0-1", [(0, 1)]),
        ("MIG-GPU-0abc/4/0", [(0, 1)]),
        ("MIG-0-0,MIG-0-1", [(0, 0), (0, 1)]),
    ],
)
def test_mig_instances(nvml, monkeypatch, visible, found):
    nvml.mig = {0}
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    cards = gpu.gpus()
    assert [(card["index"], card["instance"]) for card in cards] == found
    for card in cards:
        if card["instance"] is not None:
            assert card["slice"] == "mig"
            assert card["total_mb"] == 5 * 1024
            assert card["utilisation"] is None


def test_a_guest_of_a_sliced_card(nvml):
    nvml.guest = True
    assert [card["slice"] for card in gpu.gpus()] == ["vgpu", "vgpu"]


def test_memory_by_process(nvml):
    assert gpu.memory_by_process() == [{7: 1024, 8: 1}, {7: 1024, 9: 1}]
    nvml.mig = {0, 1}
    assert gpu.memory_by_process() == [{}, {}]


def test_no_driver_is_no_gpu(monkeypatch):
    monkeypatch.setattr(gpu, "_nvml", lambda: None)
    assert gpu.gpus() == []
    assert gpu.memory_by_process() == []
    assert gpu.driver() is None


TABLE = """Wed Feb 21 15:49:16 2024
+------------------------------------------------------------------------------+
| VGPU-SMI 1.7.13       Driver Version: 535.54.03     CUDA Version: 12.2       |
+-------------------------------------------+----------------------------------+
| GPU  Name                Bus-Id           |        Memory-Usage     GPU-Util |
|===========================================+==================================|
|   0  NVIDIA A100-SXM...  00000000:89:00.0 |  6234MiB /  8182MiB    7% /  10% |
|   1  NVIDIA A100-SXM...  00000000:8A:00.0 | 0MiB / 40950MiB |
+-------------------------------------------+----------------------------------+
"""


def vgpu_smi(directory, monkeypatch, script):
    """Create a program of that name, first on the path."""
    program = directory / "vgpu-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")
    monkeypatch.setattr(gpu, "_silent_until", 0.0)


def test_slices_that_vgpu_smi_tells_of(tmp_path, monkeypatch):
    (tmp_path / "said").write_text(TABLE)
    vgpu_smi(tmp_path, monkeypatch, f"cat '{tmp_path}/said'")
    assert gpu.vgpu_slices() == [
        {"index": 0, "used_mb": 6234, "total_mb": 8182, "utilisation": 7, "share": 10},
        {"index": 1, "used_mb": 0, "total_mb": 40950, "utilisation": None, "share": None},
    ]


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "kill -9 $$"])
def test_a_vgpu_smi_that_says_nothing_known(tmp_path, monkeypatch, script):
    vgpu_smi(tmp_path, monkeypatch, script)
    assert gpu.vgpu_slices() == []


def test_a_vgpu_smi_that_hangs_is_not_waited_for_again(tmp_path, monkeypatch):
    vgpu_smi(tmp_path, monkeypatch, "exec sleep 600")
    run, asked = gpu.subprocess.run, []

    def hasty(argv, **options):
        asked.append(argv)
        return run(argv, **{**options, "timeout": 0.5})

    monkeypatch.setattr(gpu.subprocess, "run", hasty)
    assert [gpu.vgpu_slices() for _ in range(3)] == [[], [], []]
    assert asked == [[str(tmp_path / "vgpu-smi")]]


def test_no_vgpu_smi(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.vgpu_slices() == []
