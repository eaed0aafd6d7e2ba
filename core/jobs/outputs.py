"""The files that a job must leave, as job.json names them: relative to the run or workspace whose job it is.

So a finished job remains finished when the workspace is moved or renamed. Only looks whether they exist.
"""

from collections.abc import Iterable
from pathlib import Path


def named(jobs: Path, files: Iterable[Path]) -> list[str]:
    """Return the names of `files` for a job in the directory `jobs`; what lies elsewhere keeps its absolute path."""
    home = jobs.absolute().parent
    return [str(file.relative_to(home) if file.is_relative_to(home) else file) for file in files]


def missing(directory: Path, names: Iterable[str]) -> list[str]:
    """Return the names of the files that do not exist."""
    return [name for name in names if not _exists(_home(directory), Path(name))]


def _home(directory: Path) -> Path:
    """Return where `jobs/`, in which the job's directory lies, is."""
    return directory.absolute().parents[1]


def _exists(home: Path, file: Path) -> bool:
    if (home / file).exists():
        return True
    # Earlier versions stored absolute paths: after a move, the file is at the same place below the new home.
    ends = (Path(*file.parts[start:]) for start in range(1, len(file.parts)))
    return file.is_absolute() and any((home / end).exists() for end in ends)
