"""The usable processors, by affinity and control groups, and what they multiply."""

import subprocess
import sys

import pytest

from core.ground import cores


@pytest.fixture
def host(monkeypatch, tmp_path):
    """A machine with eight processors whose control groups are files here; returns a function that writes one."""
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(cores, "_CGROUPS", tmp_path)
    monkeypatch.setattr(cores, "_OWN", tmp_path / "own")

    def write(name, text):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return write


@pytest.mark.parametrize(
    ("own", "files", "count"),
    [
        ("", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        # A container: its own group appears as the root.
        ("0::/../elsewhere\n", {"cpu.max": "250000 100000\n"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000\n"}, 1),
        ("0::/a\n", {"a/cpu.max": "nonsense\n"}, 8),
        ("0::/a\n", {"a/cpu.max": "3200000 100000\n"}, 8),
        ("3:cpu,cpuacct:/a\n1:memory:/m\n", {"cpu/a/cpu.cfs_quota_us": "400000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 4),
        ("3:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)  # fmt: skip
def test_what_the_control_groups_leave(host, own, files, count):
    host("own", own)
    for name, text in files.items():
        host(name, text)
    assert cores.usable() == count


def test_one_that_it_is_bound_to():
    say = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from core.ground import cores; print(cores.usable())"
    done = subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("lines", "multiplies"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_tile\n", True),
        ("processor\t: 0\nflags\t\t: fpu amx_bf16\n", True),
        ("flags\t\t: fpu avx512f avx512bw\n", False),
        # Named elsewhere, or of another architecture.
        ("bugs\t\t: avx512_bf16\nFeatures\t: fp asimd bf16\n", False),
        (None, False),
    ],
)
def test_whether_they_multiply_bf16(monkeypatch, tmp_path, lines, multiplies):
    monkeypatch.setattr(cores, "_PROCESSOR", tmp_path / "cpuinfo")
    if lines is not None:
        (tmp_path / "cpuinfo").write_text(lines)
    assert cores.multiply_bf16() is multiplies
