"""What was noted from inside a training, ours or a peer's; `inside/sitecustomize.py` writes it."""

import json
import os
from pathlib import Path
from statistics import mean
from typing import Any

INSIDE = Path(__file__).parent / "inside"


_TIMES = ("at", "cpu", "begins", "update")


def noting(file: Path) -> dict[str, str]:
    """Return the environment in which a training notes into `file`."""
    path = os.pathsep.join(filter(None, [str(INSIDE), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "XTUNER_STUDIO_SEEN": str(file)}


def read(file: Path) -> dict[str, Any]:
    """Return the settings, the number of updates, and the seconds and CPU seconds of one, the first left out."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    begun = {line["begins"]: line for line in lines if "begins" in line}
    ended = {line["update"]: line for line in lines if "update" in line}
    found: dict[str, Any] = {
        "used": {key: value for line in lines for key, value in line.items() if key not in _TIMES},
        "steps": len(ended),
    }
    whole = [number for number in sorted(ended) if number in begun][1:]
    if whole:
        for key, unit in (("seconds_a_step", "at"), ("cpu_seconds_a_step", "cpu")):
            found[key] = round(mean(ended[number][unit] - begun[number][unit] for number in whole), 3)
    return found
