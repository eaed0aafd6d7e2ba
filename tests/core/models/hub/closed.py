"""Directories of another user as seen by a user other than root; the tests may run as root, who may enter all."""

import errno
import os
from pathlib import Path

import pytest


def close(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Deny access to `directory`."""
    stat, listdir = os.stat, os.listdir

    def inside(path) -> bool:
        return not isinstance(path, int) and str(os.fspath(path)).startswith(f"{directory}{os.sep}")

    def refused(path):
        return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def closed_stat(path, *arguments, **options):
        if inside(path):
            raise refused(path)
        return stat(path, *arguments, **options)

    def closed_listdir(path="."):
        if inside(path) or str(path) == str(directory):
            raise refused(path)
        return listdir(path)

    monkeypatch.setattr(os, "stat", closed_stat)
    monkeypatch.setattr(os, "listdir", closed_listdir)
