"""Runs one file's tests again and again: `python -m tests.mutants.forked FILE TEST …`, in a copy of the project.

Imports once what does not depend on FILE, torch above all; then each line on stdin is one run in a forked child, and
one line on stdout says how it went. FILE may be another one each time. Nothing that a run has started outlives it.
"""

import ast
import ctypes
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
# How a child ends whose tests have all passed: a mutant may end it with 0 before there was any.
PASSED = 77
# What a test waits for comes within seconds, or never: of a mutant it mostly never comes.
PATIENCE = "10"
# What was imported beforehand is not rewritten by pytest, which need not be said.
PYTEST = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


def dependents(file: str) -> set[str]:
    """The modules of the project that import FILE's, directly or by way of others, and that one."""
    importers: dict[str, set[str]] = {}
    for path in Path().glob("[cpt]*/**/*.py"):
        module = _module(path)
        for name in _imported(path, module):
            importers.setdefault(name, set()).add(module)
    found, ahead = set(), [_module(Path(file))]
    while ahead:
        if (module := ahead.pop()) not in found:
            found.add(module)
            ahead += importers.get(module, ())
    return found


def _module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _imported(path: Path, module: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found - {module}


def run(tests: list[str], seconds: float, told: int | None = None) -> tuple[int | None, float]:
    """The tests in a child: 0 if they passed, None where they took longer than `seconds`; and how long they took."""
    began = time.monotonic()
    child = os.fork()
    if not child:
        code = 99
        try:
            os.setsid()
            # One that counts for ever is ended sooner than one that waits.
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
            log = os.open("../log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            for number in (1, 2):
                os.dup2(log, number)
            import pytest

            temporary = ["--basetemp", os.path.abspath("../tmp")]
            failed = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *PYTEST, *temporary, *tests])
            code = int(failed) or PASSED
            if told is not None:
                os.write(told, json.dumps(list(sys.modules)).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    ended = os.pidfd_open(child)
    on_time = bool(select.select([ended], [], [], seconds)[0])
    os.close(ended)
    if not on_time:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    _end_all()
    code = os.waitstatus_to_exitcode(status)
    outcome = None if not on_time or code == -signal.SIGXCPU else 0 if code == PASSED else code or 1
    return outcome, time.monotonic() - began


def _end_all() -> None:
    """End what was started and left: its orphans are ours."""
    while True:
        children = [
            int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
        ]
        if not children:
            return
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def prepare(file: str, tests: list[str]) -> float:
    """Import beforehand what the tests import and FILE does not touch; returns how long the tests take then."""
    with open("../modules.json", "wb+") as modules:
        code, _ = run(tests, 600, modules.fileno())
        modules.seek(0)
        names = json.loads(modules.read() or b"[]")
    if code != 0:
        raise SystemExit(f"the tests of {file} fail as it is: {Path('../log.txt').resolve()}")
    # A module compiled from one mutant must not be taken for the next one.
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    for cached in (Path(file).parent / "__pycache__").glob(f"{Path(file).stem}.*"):
        cached.unlink()
    changed = dependents(file)
    for name in names:
        if name not in changed and not name.startswith(("tests", "_pytest", "__")):
            try:
                importlib.import_module(name)
            except Exception:  # noqa: BLE001 - made up by another module, or not importable alone
                continue
    code, seconds = run(tests, 600)
    if code != 0:
        raise SystemExit(f"the tests of {file} fail the second time: {Path('../log.txt').resolve()}")
    return seconds


def main() -> None:
    """Be ready, then run once for each line."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    file, *tests = sys.argv[1:]
    os.environ["TESTS_PATIENCE"] = PATIENCE
    print(json.dumps(prepare(file, tests)), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(tests, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
