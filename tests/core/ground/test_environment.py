"""The facts about the machine, and the results of its checks."""

import pytest

from core.ground import environment, gpu


def test_versions_and_checks(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "_nvml", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    versions = environment.versions()
    assert versions["xtuner"] == "0.2.0"
    assert set(versions) == {"python", *environment.PACKAGES}
    checks = {check.name: check for check in environment.checks(tmp_path)}
    assert checks["xtuner"].ok
    assert checks["xtuner"].hint is None
    assert checks["gpu"].ok
    assert "CPU" in checks["gpu"].hint.en


def test_a_check_that_fails_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "FREE_DISK", 2**80)
    monkeypatch.setattr(environment, "PACKAGES", ("no-such-package",))
    checks = {check.name: check for check in environment.checks(tmp_path)}
    assert not checks["disk"].ok
    assert str(tmp_path) in checks["disk"].hint.zh
    assert not checks["no-such-package"].ok
    assert "make run" in checks["no-such-package"].hint.en


A100 = {"index": 0, "instance": None, "slice": None, "name": "NVIDIA A100-SXM4-80GB", "total_mb": 81920}


def of(name, tmp_path, **given):
    return {check.name: check for check in environment.checks(tmp_path, **given)}[name]


@pytest.fixture
def card(monkeypatch):
    """A machine with one A100 and a driver for CUDA 12.4."""
    monkeypatch.setattr(environment, "gpus", lambda: [A100])
    monkeypatch.setattr(environment, "vgpu_slices", list)
    monkeypatch.setattr(environment, "driver", lambda: "550.54.15")
    monkeypatch.setattr(environment, "cuda_of_driver", lambda: "12.4")


@pytest.mark.usefixtures("card")
def test_a_whole_card(tmp_path):
    assert of("gpu", tmp_path).value == "NVIDIA A100-SXM4-80GB 80 GB"
    assert of("gpu", tmp_path).hint is None
    assert (of("driver", tmp_path).ok, of("driver", tmp_path).value) == (True, "550.54.15")
    assert of("cuda", tmp_path, torch_cuda="12.1").value == "12.1 / 12.4"


@pytest.mark.usefixtures("card")
def test_a_slice_that_only_a_cuda_process_sees(tmp_path):
    check = of("gpu", tmp_path, seen=[{"index": 0, "name": "A100", "free": 7 * 2**30, "total": 8 * 2**30}])
    assert check.value == "NVIDIA A100-SXM4-80GB 8 GB / 80 GB (VGPU)"
    assert "nvidia-smi" in check.hint.zh


@pytest.mark.usefixtures("card")
def test_a_slice_that_vgpu_smi_tells_of(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "vgpu_slices", lambda: [{"index": 0, "total_mb": 8182}])
    assert "8 GB" in of("gpu", tmp_path).value


@pytest.mark.usefixtures("card")
def test_a_mig_instance(tmp_path, monkeypatch):
    mig = {**A100, "name": "NVIDIA A100-SXM4-80GB MIG 1g.10gb", "slice": "mig", "total_mb": 9728}
    monkeypatch.setattr(environment, "gpus", lambda: [mig])
    assert of("gpu", tmp_path).value == "NVIDIA A100-SXM4-80GB MIG 1g.10gb 9.5 GB (MIG)"


@pytest.mark.usefixtures("card")
def test_a_driver_that_is_too_old(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "driver", lambda: "470.82.01")
    monkeypatch.setattr(environment, "cuda_of_driver", lambda: "11.4")
    assert not of("driver", tmp_path).ok
    assert not of("cuda", tmp_path, torch_cuda="12.4").ok
    assert "11.4" in of("cuda", tmp_path, torch_cuda="12.4").hint.zh


@pytest.mark.usefixtures("card")
def test_a_torch_that_cannot_use_the_card(tmp_path):
    assert "CPU" in of("cuda", tmp_path, torch_cuda=None).hint.en
    assert "CUDA_VISIBLE_DEVICES" in of("cuda", tmp_path, torch_cuda="12.4", seen=[]).hint.en
    assert of("cuda", tmp_path, torch_cuda="12.4", seen=None).ok


def test_the_versions_of_an_engine_of_its_own(tmp_path):
    engine = {"xtuner": "0.1.21", "transformers": "4.39.3", "peft": "0.21.2", "streamlit": "0.1"}
    assert not of("peft", tmp_path, engine=engine).ok
    assert of("xtuner", tmp_path, engine=engine).value == "0.1.21"
    assert of("streamlit", tmp_path, engine=engine).value == environment.versions()["streamlit"]


def test_room_for_the_demo_only(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "COURSE_DISK", 2**80)
    check = of("disk", tmp_path)
    assert check.ok
    assert "1.8B" in check.hint.zh
