"""A virtual environment with only what a requirements.txt names and its dependencies, created instantly with links.

Each package is linked from the environment that the tests run in, so nothing is downloaded, and a package that is not
named cannot be imported. `python -m benchmarks.published` tests whether an index has them all.
"""

import os
import venv
from collections import defaultdict
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# For each directory or file in site-packages, the packages that have files in it.
Owners = dict[Path, set[str]]


def make(requirements: Path, place: Path) -> Path:
    """Create the environment at `place` and return its Python. Raises AssertionError if a version differs from here."""
    wanted = [Requirement(line) for line in requirements.read_text(encoding="utf-8").splitlines() if line.strip()]
    for one in wanted:
        assert one.specifier.contains(metadata.version(one.name)), one
    venv.create(place, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    home = Path(metadata.distribution("streamlit").locate_file("")).resolve()
    chosen, owners = with_what_they_ask_for(wanted), owners_of(home)
    for top in sorted(path for path in owners if len(path.parts) == 1):
        _link(top, home, packages, owners, chosen)
    return place / "bin" / "python"


def with_what_they_ask_for(wanted: list[Requirement]) -> set[str]:
    """Return the names of the packages and of their dependencies here."""
    found: set[str] = set()
    left = [(canonicalize_name(one.name), frozenset(one.extras)) for one in wanted]
    seen = set()
    while left:
        name, extras = left.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(name)
        for line in metadata.requires(name) or ():
            one = Requirement(line)
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in (extras or {""})):
                left.append((canonicalize_name(one.name), frozenset(one.extras)))
    return found


def owners_of(home: Path) -> Owners:
    """Return, for each directory and file in site-packages, the packages that have something in it."""
    owners: Owners = defaultdict(set)
    for distribution in metadata.distributions(path=[str(home)]):
        name = canonicalize_name(distribution.metadata["Name"])
        for file in distribution.files or ():
            path = Path(str(file))
            if ".." not in path.parts and not path.is_absolute():
                for part in (path, *path.parents[:-1]):
                    owners[part].add(name)
    return owners


def _link(path: Path, home: Path, packages: Path, owners: Owners, chosen: set[str]) -> None:
    """Link what belongs only to chosen packages; of a shared directory, its contents."""
    if not owners[path] & chosen or not (home / path).exists():
        return
    if owners[path] <= chosen or not (home / path).is_dir():
        os.symlink(home / path, packages / path)
        return
    (packages / path).mkdir()
    for inner in sorted(one for one in owners if one.parent == path):
        _link(inner, home, packages, owners, chosen)
