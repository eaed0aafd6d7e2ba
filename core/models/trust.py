"""Permission for a model's own code: `trust_remote_code` executes Python files of the model, so the user is asked once.

Permission applies to the files with their current hashes: if one changes, the user is asked again. The files of a
linked model are copied and only the copy is loaded: see `agreed`. The demo model is our own and needs no permission.
Shows and stores permissions; `model.usable` enforces them.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from core.ground.agreed_code import DEMO, agreed_files, record
from core.ground.errors import BadInput
from core.ground.files import sha256, write_json
from core.ground.model_code import MOST_BYTES, model_code
from core.ground.workspace import Workspace
from core.models import agreed


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The Python files that a model would run with their hashes, and those that nobody agreed to."""

    files: dict[str, str]
    new: tuple[str, ...]
    changed: tuple[str, ...]
    # Whether it names code that nobody can agree to, such as another repository's.
    refused: bool = False
    # Where the user can read them.
    directory: Path | None = None

    @property
    def trusted(self) -> bool:
        return not self.new and not self.changed and not self.refused

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(sorted((*self.new, *self.changed)))


NONE = Code(files={}, new=(), changed=())


def code(workspace: Workspace, path: Path) -> Code:
    """Return the code that the model at `path` would run; empty if its configuration names none.

    For a copied model the owner's files are checked too: what has changed there needs permission again.
    """
    copy = agreed.current(workspace, path)
    source = agreed.origin(path) if copy else path
    if copy and not source.is_dir():
        source = copy
    named = model_code(source)
    if not named.files and not named.refused:
        return NONE
    found = agreed.python_files(source)
    of_copy = agreed.python_files(copy) if copy else {}
    if any(file.stat().st_size > MOST_BYTES for file in (*found.values(), *of_copy.values())):
        # No model code is this large, and hashing it could take forever.
        return Code(files={}, new=(), changed=(), refused=True, directory=source)
    files = {name: sha256(file) for name, file in found.items()}
    if path == workspace.models / DEMO and not path.is_symlink():
        return Code(files=files, new=(), changed=(), directory=source)
    known = agreed_files(record(workspace.root, path.name))
    would_run = [*files.items(), *((name, sha256(file)) for name, file in of_copy.items())]
    return Code(
        files=files,
        new=tuple(dict.fromkeys(name for name, _ in would_run if name not in known)),
        refused=bool(named.refused),
        changed=tuple(dict.fromkeys(name for name, digest in would_run if known.get(name, digest) != digest)),
        directory=source,
    )


def agree(workspace: Workspace, path: Path, files: dict[str, str] | None = None) -> None:
    """Permit the model at `path` to run its code: `files` as the user saw them, else as they are now.

    A link points at a copy of them from then on. Raises BadInput if they have changed since they were shown.
    """
    found = code(workspace, path)
    files = files or found.files
    if not files or found.refused:
        return
    source = agreed.origin(path)
    if path.is_symlink():
        try:
            agreed.make(workspace, path, files)
        except OSError as error:
            raise BadInput(
                f"模型 {path.name} 的文件没有复制成（{error.strerror}）：检查 {source} 能不能读，工作目录有没有空间",
                f"the files of the model {path.name} could not be copied ({error.strerror}): check that {source} is readable and that the workspace has enough space",
            ) from error
    write_json(record(workspace.root, path.name), {"files": files, "agreed": time.time(), "path": str(source)})


def settle(workspace: Workspace, path: Path) -> None:
    """Point the link of a model with trusted code at a copy of its current files.

    Does nothing if the code is not what was agreed to: it then needs permission. Never raises.
    """
    try:
        known = agreed_files(record(workspace.root, path.name)) if path.is_symlink() else {}
        if not known:
            return
        copy = agreed.current(workspace, path)
        if copy is None or not agreed.is_fresh(copy, agreed.origin(path)):
            agreed.make(workspace, path, known)
    except (BadInput, OSError):
        # Changed or missing: the copy remains as it is, and `code` reports the obstacle.
        return


def withdraw(workspace: Workspace, name: str) -> None:
    """Withdraw permission; also used when the model is removed."""
    record(workspace.root, name).unlink(missing_ok=True)
    agreed.drop(workspace, name)
