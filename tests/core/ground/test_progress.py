"""A command's progress file: where its job expects it, atomic, written concurrently, and never a reason to stop."""

import json
import os
import threading

import pytest

from core.ground import progress
from tests.conftest import PATIENCE


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "a job" / progress.FILE
    path.parent.mkdir()
    monkeypatch.setenv(progress.VARIABLE, str(path))
    return path


def test_each_replaces_the_last(file):
    progress.write_progress(done=0.5, note="下载")
    progress.write_progress(done=1.0)
    assert json.loads(file.read_text(encoding="utf-8")) == {"done": 1.0}
    assert [path.name for path in file.parent.iterdir()] == [progress.FILE]


def test_no_job(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    assert progress.progress_file() is None
    progress.write_progress(done=0.5)
    assert not list(tmp_path.iterdir())


def test_threads_write_at_once_and_a_reader_sees_no_half(file):
    failed = []

    def write(number):
        try:
            for _ in range(200):
                progress.write_progress(note="x" * 5000, number=number)
        except Exception as error:
            failed.append(error)

    progress.write_progress(note="x" * 5000, number=-1)
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(json.loads(file.read_text(encoding="utf-8"))["note"]) == 5000
    assert not failed
    assert [path.name for path in file.parent.iterdir()] == [progress.FILE]


def test_no_two_write_into_the_same_file(file, monkeypatch):
    sources, replace, both = set(), os.replace, threading.Barrier(2)

    def replaced(source, target):
        sources.add(source)
        # Neither finishes before the other has started.
        both.wait(PATIENCE)
        replace(source, target)

    monkeypatch.setattr(progress.os, "replace", replaced)
    threads = [threading.Thread(target=progress.write_progress, kwargs={"number": n}) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sources) == 2
    assert [path.name for path in file.parent.iterdir()] == [progress.FILE]


def test_what_cannot_be_written_stops_nothing(file, monkeypatch):
    # A directory in the file's place, because root has neither missing permissions nor a full disk.
    file.mkdir()
    progress.write_progress(done=0.5)
    assert [path.name for path in file.parent.iterdir()] == [progress.FILE]
    monkeypatch.setenv(progress.VARIABLE, str(file.parent / "gone" / progress.FILE))
    progress.write_progress(done=0.5)
