"""The demo workflow from start to finish, cold and warm: how long a newcomer waits, stage by stage.

    python -m benchmarks.demo

Cold builds the demo model first; warm finds it. Runs in a temporary workspace, or in an empty one that is given.
"""

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
WARM_ROUNDS = 2


def demo(workspace: str, nickname: str) -> dict[str, Any]:
    """Run one demo; return the seconds of its stages, the total, and its scores."""
    began = time.perf_counter()
    words = [sys.executable, "-m", "core", "demo", "--name", nickname, "--workspace", workspace, "--json"]
    done = subprocess.run(words, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    told = json.loads(done.stdout)
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "stages": {stage["name"]: stage["seconds"] for stage in told["stages"]},
        "identity": told["scores"]["identity"]["tuned"],
        "retention": told["scores"]["retention"]["tuned"],
        "parrot": told["scores"]["parrot"]["tuned"],
        "merged_equals_adapter": told["merged_equals_adapter"],
    }


def main() -> None:
    given = contextlib.nullcontext(str(WORKSPACE)) if WORKSPACE else tempfile.TemporaryDirectory()
    with given as workspace:
        say("cold")
        cold = demo(workspace, "小明")
        warm = []
        for number in range(WARM_ROUNDS):
            say(f"warm {number + 1} of {WARM_ROUNDS}")
            warm.append(demo(workspace, "NICK"))
        ratios = [cold["seconds"] / run["seconds"] for run in warm]
        write("demo", {"cold": cold, "warm": warm, "cold_over_warm": {"least": min(ratios), "most": max(ratios)}})


if __name__ == "__main__":
    main()
