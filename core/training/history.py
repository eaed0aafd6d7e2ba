"""What earlier runs on this machine took, for forecasts of the next one."""

import statistics

from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.training.run import every


def measured(workspace: Workspace) -> list[dict[str, float]]:
    """For each finished run: `parameters` of its model, `tokens` and median `seconds` of an iteration."""
    found = []
    for run in every(workspace):
        points = run.metrics().read()
        times = [point["time"] for point in points if point.get("time")]
        told = run.job.progress if run.job else {}
        if (
            len(times) < 5
            or run.job is None
            or run.job.status() is not Status.FINISHED
            or not told.get("tokens_per_iter")
        ):
            continue
        found.append(
            {
                "parameters": run.facts["model"]["parameters"],
                "tokens": told["tokens_per_iter"],
                "seconds": statistics.median(times),
            }
        )
    return found
