"""Creates what many tests of a process start with only once, and copies it into the workspaces of later tests."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from core.ground.workspace import Workspace

# Placeholder for the workspace's path in the stored files.
_HERE = b"<the workspace>"
# Not copied: permissions, which depend on a text that contains paths, and what can be recomputed.
_OWN = ("settings", "cache")


class Kept:
    """Copies of workspaces, by what was requested and what was in them before."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._known = directory, dict[str, Path]()

    def bring(self, workspace: Workspace, what: str, make: Callable[[], object]) -> None:
        """Add `what` to the workspace: copied if it was made from the same state before, else by calling `make`."""
        key = f"{what}, {_state(workspace.root)}"
        if known := self._known.get(key):
            _copy(known, workspace.root, _HERE, os.fsencode(workspace.root))
            return
        make()
        known = self._directory / str(len(self._known))
        _copy(workspace.root, known, os.fsencode(workspace.root), _HERE)
        self._known[key] = known


def _state(root: Path) -> str:
    """Return a digest of a workspace's contents, wherever it is, and of the relevant environment variables."""
    digest = hashlib.sha256()
    for name, value in sorted(os.environ.items()):
        if name.startswith(("XTUNER_STUDIO_", "CUDA_")) and name != "XTUNER_STUDIO_HOME":
            digest.update(f"{name}={value}\n".encode())
    for path in _files(root):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes().replace(os.fsencode(root), _HERE))
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    found = (path for path in sorted(root.rglob("*")) if path.is_file())
    return (path for path in found if path.relative_to(root).parts[0] not in _OWN)


def _copy(source: Path, target: Path, old: bytes, new: bytes) -> None:
    """Copy files missing in `target`, replacing `old` by `new` and keeping times, by which pages tell what is newer."""
    for path in _files(source):
        here = target / path.relative_to(source)
        content = path.read_bytes().replace(old, new)
        if not here.exists() or here.read_bytes() != content:
            here.parent.mkdir(parents=True, exist_ok=True)
            here.write_bytes(content)
        shutil.copystat(path, here)
    for path in sorted(source.rglob("*"), reverse=True):
        here = target / path.relative_to(source)
        if path.is_dir() and path.relative_to(source).parts[0] not in _OWN:
            here.mkdir(parents=True, exist_ok=True)
            shutil.copystat(path, here)
