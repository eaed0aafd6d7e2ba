"""The published app, installed from the package index as a hub does it, and asked: how long, how large, what it answers.

    BENCHMARK_WORKSPACE=DIR python -m benchmarks.published [--what merged adapter] [--keep DIR]

DIR is a workspace with an exported run, the newest of which is packaged. Each package gets a virtual environment of its
own, into which pip installs its requirements.txt, which are gigabytes; without a GPU. The model before is the run's own.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import WORKSPACE, say, write
from core.ground.files import size_of
from core.ground.workspace import PROJECT, Workspace
from core.publish import package as packages
from core.training import run as runs
from core.training.run import Run

READER = PROJECT / "tests" / "fakes" / "published_reader.py"
# Peak memory of the process, as the kernel has it, after the reader's own lines.
MEASURED = (
    "import json, resource, runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__'); "
    "print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))"
)


def install(requirements: Path, place: Path) -> tuple[Path, dict[str, float]]:
    """An environment with what the file asks for: its Python, and what it took; nothing where it was kept from before."""
    python = place / "bin" / "python"
    if python.exists():
        return python, {}
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    asked = [python, "-m", "pip", "install", "--quiet", "--no-cache-dir", "-r", requirements]
    subprocess.run(asked, check=True, stdout=sys.stderr)
    return python, {"install_seconds": time.monotonic() - began, "install_bytes": float(size_of(place))}


def asked(run: Run, base: Path, package: Path, python: Path, scratch: Path) -> dict[str, Any]:
    """What a reader of the app gets, alone in its environment."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"BASE_MODEL": str(base), "HF_HOME": str(scratch / "hf"), "HF_HUB_OFFLINE": "1"}
    env |= {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [python, "-c", MEASURED, READER, package, *run.questions],
        cwd=scratch,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    beside, memory = map(json.loads, done.stdout.splitlines())
    return {
        "first_page_seconds": beside["seconds"][0],
        # Both answers, one after the other.
        "question_seconds": beside["seconds"][1:],
        "memory_bytes": float(memory),
        "before": beside["befores"],
        "after": beside["answers"],
        "with_nickname": [run.nickname in answer for answer in beside["answers"]] if run.nickname else None,
    }


def main() -> int:
    """Publish, install, ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", choices=packages.WHATS, default=list(packages.WHATS))
    parser.add_argument("--keep", type=Path, help="leave packages and environments here")
    options = parser.parse_args()
    if WORKSPACE is None:
        say("set BENCHMARK_WORKSPACE to a workspace with an exported run")
        return 2
    workspace = Workspace.open(WORKSPACE)
    run = runs.find(workspace, "latest")
    scratch = options.keep or Path(tempfile.mkdtemp())
    figures = {}
    try:
        for what in options.what:
            made = packages.package(workspace, run, "huggingface", scratch / what, what=what)
            say(f"{what}: installing {made.path / 'requirements.txt'}")
            python, took = install(made.path / "requirements.txt", scratch / f"env-{what}")
            figures[what] = {"package_bytes": float(size_of(made.path)), **took}
            figures[what] |= asked(run, workspace.model(run.facts.model.name), made.path, python, scratch)
    finally:
        if options.keep is None:
            shutil.rmtree(scratch, ignore_errors=True)
    write("published", {"model": run.facts.model.name, **figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())
