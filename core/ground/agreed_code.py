"""Where approved model code is stored, and whether a file in a model's directory may run.

    agreed/<model>/<digest>/<name>/       the copy of a linked model: its code, its settings, links to its weights
    agreed/<model>/<digest>/origin.json   its origin, the hash of each Python file, the state of the original files
    settings/trusted/<model>.json         the hash of each approved Python file

The owner of a linked model's directory can change it at any moment, so none of its code is ever run from there. Files
in the workspace itself belong to its user: a copy, a model that was built or downloaded here, a merged one in a run.
Standard library and Python 3.10 only, so that the engine's workers may import it. Makes no copies: that is for
`models.agreed`.
"""

from pathlib import Path
from typing import Any

from core.ground.files import read_json, sha256

# Passes the workspace's path to the workers.
VARIABLE = "XTUNER_STUDIO_WORKSPACE"
ORIGIN = "origin.json"
# Built here by `demo_model`; only a link could put something else under this name.
DEMO = "demo"
# A copy's record lists as many files as its model has.
_MOST_BYTES = 8 << 20


def copies(root: Path) -> Path:
    """Return the directory of the copies in the workspace `root`."""
    return root / "agreed"


def record(root: Path, name: str) -> Path:
    """Return the file that records what the user approved of the model `name`."""
    return root / "settings" / "trusted" / f"{name}.json"


def may_run(root: "Path | None", directory: Path, module: str) -> bool:
    """Return whether the Python file `module` of the model in `directory` may run in workspace `root` (None: no)."""
    if root is None or not directory.is_dir():
        return False
    directory = directory.resolve()
    file = (directory / module).resolve()
    if directory not in file.parents or not file.is_file():
        return False
    copied, own, runs = (place.resolve() for place in (copies(root), root / "models", root / "runs"))
    if copied in directory.parents:
        return _all_as_agreed(directory, directory.parent / ORIGIN)
    if own == directory.parent:
        return directory.name == DEMO or _all_as_agreed(directory, record(root, directory.name))
    # Written by our own runs and exports: the code came from an approved base model.
    return runs in directory.parents


def agreed_files(file: Path) -> "dict[str, Any]":
    """Return the hashes of the approved Python files in a record, by name; empty without a record."""
    kept = read_json(file, _MOST_BYTES)
    files = kept.get("files") if isinstance(kept, dict) else None
    return files if isinstance(files, dict) else {}


def _all_as_agreed(directory: Path, where: Path) -> bool:
    """Return whether every Python file in the directory is in the record: they import each other."""
    agreed = agreed_files(where)
    found = [file for file in directory.rglob("*.py") if file.is_file()]
    return all(agreed.get(str(file.relative_to(directory))) == sha256(file) for file in found)
