"""Where the code of models lies that somebody agreed to, and whether a file of a directory is of it.

    agreed/<model>/<digest>/<name>/       the copy of a linked model: its code, its settings, links to its weights
    agreed/<model>/<digest>/origin.json   where it was copied from, the hash of each Python file, how its files stood
    settings/trusted/<model>.json         the hash of each Python file that was agreed to

A linked model's own directory is another's to change at any moment, so none of its code is ever run from there. What
lies in the workspace itself is its user's: a copy, a model that was built or downloaded here, a merged one in a run.
Standard library and Python 3.10 only, so that the engine's workers may ask. Makes no copy: that is for `models.agreed`.
"""

from pathlib import Path
from typing import Any

from core.ground.files import read_json, sha256

# By this the workers are told which workspace they work for.
VARIABLE = "XTUNER_STUDIO_WORKSPACE"
ORIGIN = "origin.json"
# Built here by `demo_model`; nothing else is put under this name but by a link.
DEMO = "demo"
# A copy's record names as many files as its model has.
_MOST_BYTES = 8 << 20


def copies(root: Path) -> Path:
    """Where the copies of the workspace `root` lie."""
    return root / "agreed"


def record(root: Path, name: str) -> Path:
    """The file that says what of the model `name` was agreed to."""
    return root / "settings" / "trusted" / f"{name}.json"


def may_run(root: "Path | None", directory: Path, module: str) -> bool:
    """Whether the Python file `module` of the model in `directory` may run for the workspace `root`; None is no workspace."""
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
    # What our own trainings and exports wrote: its code came from a base model that was agreed to.
    return runs in directory.parents


def agreed_files(file: Path) -> "dict[str, Any]":
    """The Python files with their hashes that a record names; none where there is no record."""
    kept = read_json(file, _MOST_BYTES)
    files = kept.get("files") if isinstance(kept, dict) else None
    return files if isinstance(files, dict) else {}


def _all_as_agreed(directory: Path, where: Path) -> bool:
    """Whether every Python file in the directory is one that the record names: they import each other."""
    agreed = agreed_files(where)
    found = [file for file in directory.rglob("*.py") if file.is_file()]
    return all(agreed.get(str(file.relative_to(directory))) == sha256(file) for file in found)
