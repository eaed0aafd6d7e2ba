"""A process of ours collects no garbage until its imports are done, and collects it from then on."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.ground.workspace import PROJECT

TOLD = "import gc, core; from core.ground import garbage; print(gc.isenabled(), gc.get_freeze_count() > 0)"
# They end at once, or only wait for other processes.
SHORT = {"core/ground/bootstrap.py", "core/data/files/recognised.py"}
# Run as files, not with `-m`.
BY_FILE = {"core/engine/workers/inspect_worker.py", "core/models/template_sandbox.py"}


def started() -> list[Path]:
    """Every module that is started with `python -m`."""
    files = (path for path in (PROJECT / "core").rglob("*.py") if '__name__ == "__main__"' in path.read_text("utf-8"))
    return [path for path in files if path.relative_to(PROJECT).as_posix() not in SHORT | BY_FILE]


@pytest.mark.parametrize(
    ("first", "expected"), [("-m", ["False", "False"]), ("a file", ["True", "False"])], ids=["starting", "running"]
)
def test_nothing_is_collected_while_a_process_starts(first, expected):
    code = f"import sys; sys.argv = [{first!r}]; {TOLD}; garbage.resume(); {TOLD}"
    told = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert [line.split() for line in told.splitlines()] == [expected, ["True", "True"]]


def test_a_command(tmp_path):
    """No collection during its imports; collection is on while it works."""
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, gc, sys\n"
        "collected = []\n"
        "gc.callbacks.append(lambda phase, _: collected.append(phase) if 'core.ground' in sys.modules else None)\n"
        "resumed = gc.enable\n"
        "gc.enable = lambda: (print('before:', len(collected)), resumed())\n"
        "atexit.register(lambda: print('enabled:', gc.isenabled(), 'kept:', gc.get_freeze_count() > 10_000))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "core", "models", "list", "--workspace", str(tmp_path / "work")],
        cwd=PROJECT,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    before = next(int(line.split()[1]) for line in lines if line.startswith("before:"))
    assert before == 0
    assert lines[-1] == "enabled: True kept: True"


@pytest.mark.parametrize("path", started(), ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_every_module_that_is_started_resumes(path):
    assert "garbage.resume()" in path.read_text(encoding="utf-8")
