"""Runs all benchmarks of this machine in sequence: `make bench`, or `python -m benchmarks [NAME ...]`.

The demo runs first if it is among them, and its workspace is used by all others. These only run by name: the ones that
need a GPU (`gpu`), train for many minutes (`soak`, `identity`, `verdicts`, `sweep`, `goal`, `corpus`, `peers`,
`models`), download gigabytes (`published`) or need GGUF files (`taken_home`).
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import say

HERE = Path(__file__).parent
NOT_BENCHMARKS = {
    "__init__",
    "__main__",
    "measure",
    "product",
    "table",
    "random_model",
    "invented_book",
    "tiny_models",
    "identity_probe",
    "turn",
    "tab",
}
BY_NAME_ONLY = {
    "gpu",
    "scaling",
    "soak",
    "identity",
    "verdicts",
    "sweep",
    "goal",
    "corpus",
    "peers",
    "evaluations",
    "looks",
    "precision",
    "models",
    "course_engine",
    "published",
    "taken_home",
}


def main(names: list[str]) -> int:
    """Run the benchmarks `names`, or all; return the number of failures."""
    there = {path.stem for path in HERE.glob("*.py")} - NOT_BENCHMARKS
    chosen = sorted(names or there - BY_NAME_ONLY, key=lambda name: (name != "demo", name))
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        given = {"BENCHMARK_WORKSPACE": scratch} if "demo" in chosen else {}
        for name in chosen:
            say(f"== {name}")
            command = [sys.executable, "-m", f"benchmarks.{name}"]
            failed += subprocess.call(command, cwd=HERE.parent, env={**os.environ, **given}) != 0
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
