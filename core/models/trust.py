"""Leave for a model's own code: `trust_remote_code` runs Python files of the model's directory, so the user is asked once.

What is agreed to are the files as they are, by their hashes: when one changes, leave is asked for anew. The demo
model is ours and needs none. Shows and remembers; who must not run without it asks `model.usable`.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from core.ground.files import read_json, sha256, write_json
from core.ground.model_code import MOST_BYTES, model_code
from core.ground.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The Python files that a model would run, each with its hash, and those of them that nobody agreed to."""

    files: dict[str, str]
    new: tuple[str, ...]
    changed: tuple[str, ...]
    # Whether it names code that nobody can agree to, such as another repository's.
    refused: bool = False

    @property
    def trusted(self) -> bool:
        return not self.new and not self.changed and not self.refused

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(sorted((*self.new, *self.changed)))


# Built here by `demo_model`; nothing else is put under this name but by a link.
DEMO = "demo"
NONE = Code(files={}, new=(), changed=())


def code(workspace: Workspace, path: Path) -> Code:
    """What the model at `path` in `workspace` would run. Nothing where its configuration names no code."""
    named = model_code(path)
    if not named.files and not named.refused:
        return NONE
    # What is named imports its neighbours.
    found = [file for file in sorted(path.rglob("*.py")) if file.is_file()]
    if any(file.stat().st_size > MOST_BYTES for file in found):
        # No code of a model is so large, and its hash may take for ever.
        return Code(files={}, new=(), changed=(), refused=True)
    files = {str(file.relative_to(path)): sha256(file) for file in found}
    if path == workspace.models / DEMO and not path.is_symlink():
        return Code(files=files, new=(), changed=())
    kept = read_json(_record(workspace, path.name))
    agreed = kept.get("files", {}) if isinstance(kept, dict) else {}
    return Code(
        files=files,
        new=tuple(name for name in files if name not in agreed),
        refused=bool(named.refused),
        changed=tuple(name for name, digest in files.items() if agreed.get(name, digest) != digest),
    )


def agree(workspace: Workspace, path: Path, files: dict[str, str] | None = None) -> None:
    """Let the model at `path` run its code: `files` as the user saw them, else as they are now."""
    files = files or code(workspace, path).files
    if files:
        write_json(_record(workspace, path.name), {"files": files, "agreed": time.time(), "path": str(path.resolve())})


def withdraw(workspace: Workspace, name: str) -> None:
    """Take leave back, or forget it with the model."""
    _record(workspace, name).unlink(missing_ok=True)


def _record(workspace: Workspace, name: str) -> Path:
    return workspace.settings / "trusted" / f"{name}.json"
