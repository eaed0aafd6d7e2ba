"""What is asked of the machine, and what its checks say."""

from core.ground import environment, gpu


def test_versions_and_checks(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "_nvml", lambda: None)
    versions = environment.versions()
    assert versions["xtuner"] == "0.2.0"
    assert set(versions) == {"python", *environment.PACKAGES}
    checks = {check.name: check for check in environment.checks(tmp_path)}
    assert checks["xtuner"].ok
    assert checks["xtuner"].hint is None
    assert checks["gpu"].ok
    assert "CPU" in checks["gpu"].hint.en


def test_a_check_that_fails_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "FREE_DISK_GB", 10.0**9)
    monkeypatch.setattr(environment, "PACKAGES", ("no-such-package",))
    checks = {check.name: check for check in environment.checks(tmp_path)}
    assert not checks["disk"].ok
    assert str(tmp_path) in checks["disk"].hint.zh
    assert not checks["no-such-package"].ok
    assert "make run" in checks["no-such-package"].hint.en
