"""How long a training takes to its first iteration, and its questions: this code against an earlier checkout of it.

    python -m benchmarks.sooner WORKSPACE CONFIG --before DIR [--rounds 3] [--keep] [--to-the-end] [--results NAME]

Runs the trainer of both on the same config in turn, as the product starts it, and reads when its first iteration begins
and when it ends from the progress file. Without `--to-the-end` a run is ended after its first iteration. `phases` are
this code's own, in seconds since its process began. Base answers kept by earlier runs are not used. CPU seconds are
those of the trainer, and count the same beside other work.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import say, spread, write
from benchmarks.product import PROJECT
from core.config import config as configs
from core.engine import interpreter
from core.engine.commands import ENTRY, engine_environment
from core.ground.files import read_json
from core.ground.workspace import Workspace

PATIENCE = 900.0
# What is compared, and its name in a run's figures.
FIGURES = {
    "to_first_iteration_s": "first_begins",
    "to_first_iteration_cpu_s": "cpu_to_first",
    "run_s": "seconds",
}


def train(workspace: Workspace, config: Path, project: Path, to_the_end: bool, keep: bool) -> dict[str, Any]:
    """Run the trainer of the checkout `project`; return its seconds, CPU seconds, phases and losses."""
    out = Path(tempfile.mkdtemp(prefix="sooner-"))
    progress = out / "progress.json"
    environment = {**engine_environment(workspace), "XTUNER_STUDIO_PROGRESS": str(progress)}
    if keep:
        environment["XTUNER_STUDIO_KEEP"] = "answers"
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(project), os.environ.get("PYTHONPATH")]))
    argv = [interpreter.python(workspace), "-m", ENTRY, str(config), "--work-dir", str(out / "work")]
    began = time.monotonic()
    with (out / "log.txt").open("w") as log:
        process = subprocess.Popen(argv, cwd=project, env={**os.environ, **environment}, stdout=log, stderr=log)
    found: dict[str, Any] = {}
    while process.poll() is None and time.monotonic() - began < PATIENCE:
        told = read_json(progress) or {}
        if told.get("note") == "train" and "first_begins" not in found:
            found["first_begins"] = time.monotonic() - began
            found["cpu_to_first"] = cpu_seconds(process.pid)
        if told.get("iter", 0) >= 1 and not to_the_end:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.03)
    if process.poll() is None:
        process.kill()
    process.wait()
    if to_the_end:
        found["seconds"] = time.monotonic() - began
    told = read_json(progress) or {}
    found |= {"phases": told.get("phases", {}), "spent": told.get("spent", {})}
    text = (out / "log.txt").read_text(encoding="utf-8", errors="replace")
    found["losses"] = [float(one) for one in re.findall(r"Iter\(train\).* loss: ([\d.]+)", text)]
    if "first_begins" not in found:
        raise RuntimeError(text[-2000:])
    shutil.rmtree(out)
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run both in turn and report ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("config")
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="with the loss that keeps the base model's own answers")
    parser.add_argument("--to-the-end", action="store_true")
    parser.add_argument("--results", default="sooner")
    parser.add_argument("--raw", type=Path, help="also write every run's figures here, after each")
    options = parser.parse_args()
    workspace = Workspace.open(options.workspace)
    config = configs.find(workspace, options.config).path / "config.py"
    runs: dict[str, list[dict[str, Any]]] = {"before": [], "now": []}
    for number in range(options.rounds):
        for which in ("before", "now") if number % 2 == 0 else ("now", "before"):
            project = options.before if which == "before" else PROJECT
            runs[which].append(train(workspace, config, project, options.to_the_end, options.keep))
            say(f"{which}: {json.dumps({k: v for k, v in runs[which][-1].items() if k != 'losses'})}")
            if options.raw:
                options.raw.write_text(json.dumps(runs))
    write(options.results, {"config": options.config, **compared(runs)})


def compared(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return what both took, their ratios run by run, this code's phases, and whether the losses are the same."""
    pairs = list(zip(runs["before"], runs["now"], strict=True))
    found: dict[str, dict[str, Any]] = {"before": {}, "now": {}, "now_over_before": {}}
    for name, figure in FIGURES.items():
        if not all(figure in one for pair in pairs for one in pair):
            continue
        for which, ran in runs.items():
            found[which][name] = spread([one[figure] for one in ran])
        found["now_over_before"][name] = spread([now[figure] / before[figure] for before, now in pairs])
    last = runs["now"][-1]
    found["now"] |= {"reached_s": last["phases"], "spent_s": last["spent"]}
    common = [list(zip(before["losses"], now["losses"], strict=False)) for before, now in pairs]
    return {
        **found,
        "runs": len(pairs),
        "losses_compared": sum(map(len, common)),
        "losses_that_differ": sum(one != other for losses in common for one, other in losses),
    }


if __name__ == "__main__":
    main()
