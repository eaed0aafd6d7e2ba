"""The published app, installed from the package index as on a hub, and asked questions: time, size, answers.

    BENCHMARK_WORKSPACE=DIR python -m benchmarks.published [--run R] [--what merged adapter] [--keep DIR]

DIR is a workspace with exported runs of any models; the newest is packaged, or R. Each package gets its own virtual
environment, into which pip installs its requirements.txt (gigabytes), without a GPU. It is asked the questions that its
training was watched with, each by a new visitor; the model before training is the run's own. Earlier results for other
models are kept.
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

from benchmarks.measure import RESULTS, WORKSPACE, machine, say, write
from core.ground.files import read_json, size_of, write_json
from core.ground.workspace import PROJECT, Workspace
from core.publish import package as packages
from core.training import run as runs
from core.training.run import Run

READER = PROJECT / "tests" / "fakes" / "published_reader.py"
# Prints the process's peak memory, as reported by the kernel, after the reader's own lines.
MEASURED = (
    "import json, resource, runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__'); "
    "print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))"
)


def install(requirements: Path, place: Path) -> tuple[Path, dict[str, float]]:
    """Return the Python of an environment with the file's requirements, and what it cost, even if it exists already."""
    python, took = place / "bin" / "python", place / "took.json"
    if took.exists():
        return python, read_json(took)
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    asked = [python, "-m", "pip", "install", "--quiet", "--no-cache-dir", "-r", requirements]
    subprocess.run(asked, check=True, stdout=sys.stderr)
    write_json(took, {"install_seconds": time.monotonic() - began, "install_bytes": float(size_of(place))})
    return python, read_json(took)


def asked(run: Run, base: Path, package: Path, python: Path, scratch: Path) -> dict[str, Any]:
    """Return what a reader of the app gets, isolated in its environment."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"BASE_MODEL": str(base), "HF_HOME": str(scratch / "hf"), "HF_HUB_OFFLINE": "1"}
    env |= {"CUDA_VISIBLE_DEVICES": ""}
    told, memory = [], []
    for question in run.questions:
        # As the first question, like in the course.
        done = subprocess.run(
            [python, "-c", MEASURED, READER, package, question],
            cwd=scratch,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        beside, most = map(json.loads, done.stdout.splitlines())
        told.append(beside)
        memory.append(float(most))
    after = [answer for one in told for answer in one["answers"]]
    return {
        "first_page_seconds": [one["seconds"][0] for one in told],
        # Both answers, one after the other.
        "question_seconds": [one["seconds"][1] for one in told],
        "drawn_as_texts": [one["growing"] for one in told],
        "memory_bytes": max(memory),
        "asked": list(run.questions),
        "before": [answer for one in told for answer in one["befores"]],
        "after": after,
        "with_nickname": [run.nickname in answer for answer in after] if run.nickname else None,
    }


def main() -> int:
    """Publish, install, ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="latest", help="which; default: the newest")
    parser.add_argument("--what", nargs="+", choices=packages.WHATS, default=list(packages.WHATS))
    parser.add_argument("--keep", type=Path, help="leave packages and environments here")
    options = parser.parse_args()
    if WORKSPACE is None:
        say("set BENCHMARK_WORKSPACE to a workspace with an exported run")
        return 2
    workspace = Workspace.open(WORKSPACE)
    run = runs.find(workspace, options.run)
    scratch = options.keep or Path(tempfile.mkdtemp())
    kept = read_json(RESULTS / machine()["name"] / "published.json") or {}
    figures = dict(kept.get("figures", {}))
    try:
        for what in options.what:
            made = packages.package(workspace, run, "huggingface", scratch / f"{run.id}-{what}", what=what)
            say(f"{what}: installing {made.path / 'requirements.txt'}")
            python, took = install(made.path / "requirements.txt", scratch / f"env-{what}")
            found = asked(run, workspace.model(run.facts.model.name), made.path, python, scratch)
            figures[f"{run.facts.model.name}, {what}"] = {"package_bytes": float(size_of(made.path)), **took, **found}
    finally:
        if options.keep is None:
            shutil.rmtree(scratch, ignore_errors=True)
    write("published", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
