"""The demo workflow from start to finish, cold and warm: how long a newcomer waits, stage by stage.

    python -m benchmarks.demo [--real]

Cold builds the demo model first; warm finds it. With `--real` the model is the small real one, which cold downloads and
asks for its own answers. Runs in a temporary workspace, or in an empty one that is given.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import WORKSPACE, say, write

PROJECT = Path(__file__).parents[1]
WARM_ROUNDS, WARM_ROUNDS_REAL = 2, 1


def demo(workspace: str, nickname: str, *, real: bool = False) -> dict[str, Any]:
    """Run one demo; return the seconds of its stages, the total, and its scores."""
    began = time.perf_counter()
    words = [sys.executable, "-m", "core", "demo", "--name", nickname, "--workspace", workspace, "--json"]
    words += ["--real"] if real else []
    done = subprocess.run(words, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return figures(json.loads(done.stdout), time.perf_counter() - began)


def figures(told: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return the figures to keep of a demo's answer."""
    scores = told["scores"]
    return {
        "seconds": round(seconds, 1),
        "stages": {stage["name"]: stage["seconds"] for stage in told["stages"]},
        "identity": scores["identity"]["tuned"],
        "retention": scores["retention"]["tuned"],
        "parrot": scores["parrot"]["tuned"],
        "merged_equals_adapter": told["merged_equals_adapter"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", action="store_true")
    real = parser.parse_args().real
    rounds = WARM_ROUNDS_REAL if real else WARM_ROUNDS
    given = contextlib.nullcontext(str(WORKSPACE)) if WORKSPACE else tempfile.TemporaryDirectory()
    with given as workspace:
        say("cold")
        cold = demo(workspace, "Xiaoming" if real else "小明", real=real)
        warm = []
        for number in range(rounds):
            say(f"warm {number + 1} of {rounds}")
            warm.append(demo(workspace, "NICK", real=real))
        ratios = [cold["seconds"] / run["seconds"] for run in warm]
        found = {"cold": cold, "warm": warm, "cold_over_warm": {"least": min(ratios), "most": max(ratios)}}
        write("demo-real" if real else "demo", found)


if __name__ == "__main__":
    main()
