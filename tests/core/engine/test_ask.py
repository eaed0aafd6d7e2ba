"""Asking a process: its answer, its last line, and its end in time, whatever it does."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from core.engine.ask import answer_of
from tests.conftest import PATIENCE


def ask(source, result=None, seconds=PATIENCE, **more):
    return answer_of([sys.executable, "-c", source], seconds=seconds, result=result, **more)


def test_the_answer_is_what_it_wrote(tmp_path):
    source = "import os; open(os.environ['WHERE'], 'w').write('{\"a\": [1]}'); print('much'); raise SystemExit(3)"
    result = tmp_path / "result.json"
    answer = ask(source, result, env={**os.environ, "WHERE": str(result)})
    # A process that fails while exiting has answered nevertheless; callers who care check the exit code.
    assert (answer.content, answer.returncode, answer.late) == ({"a": [1]}, 3, False)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys; sys.stderr.write('first\\nthe last \\n\\n'); sys.exit(2)", "the last"),
        ("import sys; sys.stderr.write('bar 1\\rbar 2\\rdone'); sys.exit(2)", "done"),
        ("import sys; sys.stderr.buffer.write(b'\\xff\\xfe bad'); sys.exit(2)", "\ufffd\ufffd bad"),
        ("import sys; sys.stderr.write('x' * 100_000 + 'y' * 5000); sys.exit(2)", "x" * 300),
        ("import sys; print('not this'); sys.exit(2)", "exit code 2"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
    ],
)
def test_why_there_is_none(tmp_path, source, said):
    answer = ask(source, tmp_path / "result.json")
    assert answer.content is None
    assert not answer.late
    assert answer.said == said


def test_half_an_answer_is_none(tmp_path):
    result = tmp_path / "result.json"
    result.write_text('{"a": ')
    assert ask("", result).content is None


def test_no_such_program(tmp_path):
    answer = answer_of([str(tmp_path / "python")], seconds=PATIENCE)
    assert (answer.content, answer.returncode, answer.late) == (None, None, False)
    assert "No such file" in answer.said


def test_one_that_does_not_end_is_ended(tmp_path):
    end, before = tmp_path / "end", set(psutil.Process().children())
    answer = ask(f"import time; time.sleep(60); open({str(end)!r}, 'w').close()", seconds=1.5)
    assert not end.exists(), "it was waited for"
    assert (answer.late, answer.returncode, answer.content) == (True, None, None)
    assert answer.said == "not finished after 1.5 s"
    assert set(psutil.Process().children()) <= before


def test_what_it_prints_without_end_is_not_kept():
    """Asked by a process of its own, whose peak nothing has raised before."""
    source = "import sys\nfor _ in range(300): sys.stdout.write('o' * 1_000_000); sys.stderr.write('e' * 1_000_000)\nsys.exit('the end')"
    asking = (
        "import re, sys\nfrom pathlib import Path\nfrom core.engine.ask import answer_of\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1])\n"
        f"before = peak()\nprint(answer_of([sys.executable, '-c', {source!r}], seconds={PATIENCE}).said[-1])\nprint(peak() - before)"
    )
    said, grown = subprocess.run(
        [sys.executable, "-c", asking], capture_output=True, text=True, check=True
    ).stdout.split()
    assert said == "e"
    assert int(grown) < 100_000


def test_one_that_leaves_a_process_behind_is_not_waited_for(tmp_path):
    source = (
        "import pathlib, subprocess, sys\n"
        "left = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(left.pid))\n"
        "sys.exit('the parent went')"
    )
    assert ask(source).said == "the parent went"
    # It is still there, and lives with nobody who would reap it.
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
