"""The basis of all benchmarks: two ways of doing something timed alternately, and a results file per machine.

    python -m benchmarks.<name>      runs one and writes benchmarks/results/<machine>/<name>.json
    BENCHMARK_WORKSPACE=DIR python -m benchmarks.<name>      the same, in a workspace with the demo's run

Figures that depend on the machine are compared within one run, as a ratio with its spread; absolute times are kept for
the reader. Asserts nothing: speed is reported, not tested.
"""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from core.ground.environment import versions
from core.ground.files import read_json, write_json
from core.ground.gpu import gpus

RESULTS = Path(__file__).parent / "results"
# A workspace with the demo's run; `make bench` creates it first and passes it to all other benchmarks.
_GIVEN = os.environ.get("BENCHMARK_WORKSPACE")
WORKSPACE = Path(_GIVEN) if _GIVEN else None


def seconds(work: Callable[[], object]) -> float:
    """Return the wall-clock seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(one: Callable[[], object], other: Callable[[], object], rounds: int = 5) -> dict[str, Any]:
    """Time `one` and `other` alternately, `rounds` times each, swapping the order each time.

    Returns the `seconds` of both, and `ratio`: other over one, as median, minimum and maximum over the rounds.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for which in order:
            times[which].append(seconds((one, other)[which]))
    return {
        "seconds": {"one": times[0], "other": times[1]},
        "ratio": spread([b / a for a, b in zip(*times, strict=True)]),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Return median, minimum and maximum."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def machine() -> dict[str, Any]:
    """Return the machine on which the figures are taken; its `name` is a directory of results."""
    cards = gpus()
    kind = re.sub(r"[^a-z0-9]+", "-", cards[0]["name"].lower()).strip("-") if cards else "cpu"
    return {
        "name": f"{kind}-{psutil.cpu_count()}cores",
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "processor": _processor(),
        "gpus": [card["name"] for card in cards],
        "python": platform.python_version(),
        "versions": versions(),
    }


def write(name: str, figures: Mapping[str, Any], *, partly: bool = False) -> Path:
    """Store the figures of benchmark `name` for this machine, print them next to the last ones, return the file.

    `partly`: the file's other figures remain, each with the processor and commit that it was measured with.
    """
    here = machine()
    path = RESULTS / here["name"] / f"{name}.json"
    before = read_json(path) or {}
    last = before.get("figures", {})
    older = {}
    if partly and last:
        by = {"processor": before["machine"]["processor"], "commit": before["commit"]}
        older = {key: before.get("older", {}).get(key, by) for key in last if key not in figures}
    stored = {key: last[key] for key in older} | dict(figures)
    write_json(path, {"machine": here, "commit": commit(), "older": older, "figures": stored})
    for key, value in figures.items():
        before = f"   (last: {_short(last[key])})" if key in last else ""
        print(f"{name}.{key}: {_short(value)}{before}")
    return path


def say(text: str) -> None:
    """Print progress to stderr."""
    print(text, file=sys.stderr, flush=True)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_short(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False, default=str)[:200]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str | None:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None
