"""Files are only accessible to their owner, including a child's; permissions of others are removed."""

import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from core.ground.errors import BadInput
from core.ground.privacy import narrow
from core.ground.workspace import PROJECT, Workspace
from tests.fakes.users import STRANGER, needs_root, reachable, stranger


def modes(root: Path) -> dict[str, int]:
    """Return the modes of the directory and everything below it, except links."""
    found = [root, *(path for path in root.rglob("*") if not path.is_symlink())]
    return {str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) for path in found}


def an_open_tree(root: Path) -> Path:
    """Create a directory as other programs leave it."""
    (root / "runs").mkdir(parents=True)
    (root / "runs" / "log").write_text("x")
    (root / "run.sh").write_text("x")
    for path, mode in (
        (root, 0o755),
        (root / "runs", 0o2775),
        (root / "runs" / "log", 0o664),
        (root / "run.sh", 0o755),
    ):
        path.chmod(mode)
    return root


def test_all_of_a_tree_is_narrowed_and_only_once(tmp_path):
    root = an_open_tree(tmp_path / "tree")
    assert narrow(root)
    assert modes(root) == {".": 0o700, "runs": 0o2700, "runs/log": 0o600, "run.sh": 0o700}
    assert not narrow(root)


def test_what_a_link_leads_to_stays_as_it_is(tmp_path):
    root = an_open_tree(tmp_path / "tree")
    outside = an_open_tree(tmp_path / "models")
    (root / "model").symlink_to(outside)
    (root / "file").symlink_to(outside / "run.sh")
    (root / "nowhere").symlink_to(tmp_path / "gone")
    before = modes(outside)
    assert narrow(root)
    assert modes(outside) == before


def test_the_root_may_be_a_link_itself(tmp_path):
    root = an_open_tree(tmp_path / "disk" / "tree")
    (tmp_path / "workspace").symlink_to(root)
    assert narrow(tmp_path / "workspace")
    assert set(modes(root).values()) == {0o700, 0o2700, 0o600}


def test_an_empty_directory_is_nothing_to_tell_of(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new").chmod(0o755)
    assert not narrow(tmp_path / "new")
    assert modes(tmp_path / "new") == {".": 0o700}


WRITES = """
import os, sys
os.umask(0)
from pathlib import Path
from core.ground.files import new_directory, write_json
from core.ground.workspace import Workspace
from core.jobs.job import Job

workspace = Workspace.open(sys.argv[1])
write_json(workspace.settings / "engine.json", {})
with new_directory(workspace.configs / "one") as partial:
    (partial / "config.py").write_text("x")
made = "import os, pathlib; pathlib.Path('{0}').mkdir(); pathlib.Path('{0}/checkpoint.pth').write_bytes(b'x')"
made = made.format(workspace.root / "work_dir")
job = Job.start(workspace.jobs, "test", [sys.executable, "-c", made])
print(job.wait(300))
"""


def written(root: Path) -> subprocess.CompletedProcess[str]:
    """Open the workspace and write to it in a process without a umask of its own, and in a job of it."""
    done = subprocess.run([sys.executable, "-c", WRITES, root], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "FINISHED\n"
    return done


def test_a_workspace_is_private_whatever_the_umask_and_so_is_what_its_jobs_write(tmp_path):
    root = tmp_path / "workspace"
    assert written(root).stderr == ""
    found = modes(root)
    assert {"work_dir/checkpoint.pth", "settings/engine.json", "configs/one/config.py"} <= set(found)
    assert {found[name] for name in found if (root / name).is_dir()} == {0o700}
    assert {found[name] for name in found if (root / name).is_file()} == {0o600}


def test_an_older_workspace_is_narrowed_and_that_is_told_once(tmp_path):
    root = an_open_tree(tmp_path / "workspace")
    said = written(root).stderr
    assert str(root) in said
    assert said.count("\n") == 1
    assert not any(mode & 0o077 for mode in modes(root).values())
    assert Workspace(root).narrowed.exists()
    (root / "work_dir" / "checkpoint.pth").unlink()
    (root / "work_dir").rmdir()
    (root / "configs" / "one" / "config.py").unlink()
    (root / "configs" / "one").rmdir()
    assert written(root).stderr == ""


@needs_root
def test_another_user_s_directory_is_no_workspace(tmp_path):
    """Its creator could have put files there that count as our user's consent, and could do so at any time."""
    reachable(tmp_path)
    tmp_path.chmod(0o1777)
    root = tmp_path / "studio"
    agreed = root / "settings" / "agreed_configs.txt"
    stranger(lambda: (agreed.parent.mkdir(parents=True), agreed.write_text("0\n"), root.chmod(0o777)))
    with pytest.raises(BadInput) as refused:
        Workspace.open(root)
    assert f"chown -R {pwd.getpwuid(os.geteuid()).pw_name} {root}" in refused.value.text.en
    assert str(STRANGER) in refused.value.text.zh
    assert stat.S_IMODE(root.stat().st_mode) == 0o777, "it is left alone"
    os.chown(root, os.geteuid(), -1)
    Workspace.open(root)
    with pytest.raises(AssertionError, match="PermissionError"):
        stranger(lambda: agreed.write_text("1\n"))


@needs_root
def test_another_user_reads_nothing_of_a_workspace(tmp_path):
    reachable(tmp_path)
    root = an_open_tree(tmp_path / "workspace")
    assert stranger(lambda: (root / "runs" / "log").read_text()) == "x"
    Workspace.open(root)

    def tries() -> list[str]:
        found = []
        for what in (
            lambda: os.listdir(root),
            lambda: (root / "runs" / "log").read_text(),
            lambda: (root / "x").touch(),
        ):
            try:
                what()
            except PermissionError as error:
                found.append(type(error).__name__)
        return found

    assert stranger(tries) == ["PermissionError"] * 3
