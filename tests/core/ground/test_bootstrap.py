"""Whatever prevents `make run` is reported in one line, before anything is installed."""

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from core.ground import bootstrap
from core.ground.workspace import PROJECT


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A copy of what installation needs, without an environment."""
    (tmp_path / "core" / "ground").mkdir(parents=True)
    for package in ("core", "core/ground"):
        (tmp_path / package / "__init__.py").touch()
    shutil.copyfile(bootstrap.__file__, tmp_path / "core" / "ground" / "bootstrap.py")
    for name in ("requirements.txt", "requirements.lock"):
        shutil.copyfile(PROJECT / name, tmp_path / name)
    return tmp_path


def call(project: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "core.ground.bootstrap", *arguments],
        cwd=project,
        env={**os.environ, "PATH": path or os.environ["PATH"], "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_taken_port_is_one_line_before_anything_is_installed(bare: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = call(bare, "run", str(port))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert str(port) in done.stderr
    assert not (bare / ".venv").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XTUNER_STUDIO_ACCESS_TOKEN", "short"),
        ("XTUNER_STUDIO_ACCESS_TOKEN", "with a space and long enough"),
        ("XTUNER_STUDIO_PROXY", "https://studio.example.org"),
        ("XTUNER_STUDIO_PROXY", "good.example.org,*.example.org"),
    ],
)
def test_what_cannot_guard_the_entrance_is_one_line(bare: Path, monkeypatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    done = call(bare, "run", "1")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not (bare / ".venv").exists()


def test_the_token_is_random_or_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(bootstrap.ACCESS_TOKEN, raising=False)
    assert len({bootstrap.access_token() for _ in range(3)}) == 3
    monkeypatch.setenv(bootstrap.ACCESS_TOKEN, "chosen-and-long-enough")
    assert bootstrap.access_token() == "chosen-and-long-enough"
    monkeypatch.setenv(bootstrap.PROXY, "a.example, b.example:8443,")
    bootstrap.check_proxy()


def test_an_unsupported_python_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 0))
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _name: None)
    with pytest.raises(SystemExit) as stopped:
        bootstrap.supported_python()
    assert stopped.value.code == 2
    assert "3.9" in capsys.readouterr().err


def test_a_stand_in_without_its_python_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in = tmp_path / "python3.12"
    stand_in.write_text("#!/bin/sh\nexit 127\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 0))
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: str(stand_in) if name == "python3.12" else None)
    with pytest.raises(SystemExit):
        bootstrap.supported_python()


def test_too_little_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda _path: usage(10**12, 10**12, 10**8))
    with pytest.raises(SystemExit) as stopped:
        bootstrap.check_disk(9.0)
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_changed_requirements_are_installed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    requirements, lock, stamp = tmp_path / "requirements.txt", tmp_path / "requirements.lock", tmp_path / "stamp"
    requirements.write_text("a==1\n")
    lock.write_text("a==1 --hash=sha256:1\n")
    monkeypatch.setattr(bootstrap, "REQUIREMENTS", str(requirements))
    monkeypatch.setattr(bootstrap, "LOCK", str(lock))
    monkeypatch.setattr(bootstrap, "STAMP", str(stamp))
    monkeypatch.setattr(bootstrap, "PYTHON", sys.executable)
    assert not bootstrap.installed()
    stamp.write_text(bootstrap.requirements_digest())
    assert bootstrap.installed()
    lock.write_text("a==1 --hash=sha256:2\n")
    assert not bootstrap.installed()
    stamp.write_text(bootstrap.requirements_digest())
    requirements.write_text("a==2\n")
    assert not bootstrap.installed()


def pins(file: str) -> dict[str, str]:
    """Return the releases in a requirements file, each with everything up to the next one."""
    text = re.sub(r"(?m)^#.*\n|\s+#.*$", "", (PROJECT / file).read_text(encoding="utf-8"))
    return dict(re.fullmatch(r"(\S+==\S+)(.*)", part, re.S).groups() for part in re.split(r"\n+(?=\S)", text.strip()))


def test_the_lock_holds_each_requirement_by_its_hashes_and_nothing_else() -> None:
    asked, locked = pins("requirements.txt"), pins("requirements.lock")
    assert locked.keys() == asked.keys()
    for release, rest in locked.items():
        assert re.fullmatch(r"(?: \\\n    --hash=sha256:[0-9a-f]{64})+", rest), release


def test_what_installs_is_itself_known_by_its_hashes() -> None:
    asked = bootstrap.uv_requirement()
    assert asked.splitlines()[0].startswith("uv==")
    assert len(asked.splitlines()) > 5
    assert all("--hash=sha256:" in line for line in asked.splitlines()[1:])


def test_a_release_that_is_not_what_it_was_is_not_installed(tmp_path: Path) -> None:
    """By uv itself, from a directory: no index is contacted."""
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thing.py", "")
        archive.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        archive.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("thing-1.0.dist-info/RECORD", "")
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()

    def install(digest: str) -> bool:
        (tmp_path / "lock").write_text(f"thing==1.0 \\\n    --hash=sha256:{digest}\n")
        options = [
            "--no-index",
            "--no-cache",
            "--require-hashes",
            "--find-links",
            tmp_path,
            "--target",
            tmp_path / digest[:6],
        ]
        words = [sys.executable, "-m", "uv", "pip", "install", "--quiet", *options, "-r", tmp_path / "lock"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    assert install(right)
    assert not install("0" * 64)


def test_every_requirement_is_pinned_and_ours_have_a_reason() -> None:
    text = (PROJECT / "requirements.txt").read_text(encoding="utf-8")
    ours, _, brought = text.partition("# Brought by the above.")
    for line in [*ours.splitlines(), *brought.splitlines()]:
        if line and not line.startswith("#"):
            assert "==" in line.split("#")[0], line
    reasons = [line for line in ours.splitlines() if line and not line.startswith("#")]
    assert all("  # " in line for line in reasons)
    assert {"streamlit", "xtuner", "torch", "transformers", "deepspeed", "plotly", "psutil"} <= {
        line.split("==")[0] for line in reasons
    }
