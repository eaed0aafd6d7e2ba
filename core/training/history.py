"""Measurements of earlier runs on this machine, for forecasts of the next one.

Reads their files; measures nothing itself.
"""

import json
import re
import statistics
from datetime import datetime
from pathlib import Path
from typing import Any

from core.config.memory import memory
from core.engine.measure import config_facts
from core.forecast.duration import answered_tokens, arithmetic, kind, likeness, pauses, prepare
from core.forecast.schedule import schedule
from core.ground.errors import StudioError
from core.ground.files import read_json, read_lines_from
from core.ground.workspace import Workspace
from core.jobs.job import Status, jobs_in
from core.models.shape import shape
from core.training.run import Run, every

# Only the newest finished runs are used: they reflect the machine as it is.
NEWEST = 4
_FIRST_ANSWER = re.compile(r"^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - \S+ - INFO - before_train in EvaluateChatHook", re.M)


def measured(workspace: Workspace) -> list[dict[str, Any]]:
    """Return measurements of the newest finished runs, newest first, to calibrate `duration` and `preflight` with.

    `kind`, `likeness` and `work` describe the run; `seconds` per iteration, `start_seconds`, of which
    `prepare_seconds`, `token_seconds` per token of an evaluation's answers; memory in MB: `predicted_mb`,
    `allocated_mb` (XTuner's own figure, on a GPU), `total_mb` (as shown by the GPU or, without one, the process).
    """
    found: list[dict[str, Any]] = []
    newest = every(workspace)[: 3 * NEWEST]
    finished = [run for run in newest if run.state_at(None).status is Status.FINISHED and _comparable(run)]
    for number, run in enumerate(finished):
        # Measuring a config takes some seconds: for older runs only cached results are used.
        if len(found) < NEWEST and (told := _told(workspace, run, ask=number == 0)):
            found.append(told)
    return found


def _comparable(run: Run) -> bool:
    """Return whether the run was on one machine, without a resume."""
    return run.cluster.nnodes == 1 and len(jobs_in(run.jobs, "train")) == 1


def _told(workspace: Workspace, run: Run, *, ask: bool) -> dict[str, Any] | None:
    points = run.metrics().read()
    times = [point["time"] for point in points if point.get("time")]
    jobs = jobs_in(run.jobs, "train")
    if len(times) < 3:
        return None
    try:
        facts = {
            **config_facts(workspace, run.config, run.facts.dataset.sha256, run.model_path, ask=ask),
            "deepspeed": run.facts.deepspeed,
            "keeps": run.facts.keep,
            "processes": run.cluster.nproc,
        }
    except StudioError:
        return None
    form = shape(run.model_path)
    if "error" in facts["data"] or not facts["known_kind"] or form is None:
        return None
    plan = schedule(facts, facts["data"]["samples"], run.cluster.nproc)
    each = statistics.median(times)
    start = _start_seconds(run)
    total = jobs[0].seconds
    start = max(0.0, total - sum(times)) if start is None else start
    # A run that stopped early did part of its plan, and spent time on checks.
    looked = run.learned.look_seconds if run.learned else 0.0
    part = min(1.0, points[-1]["iter"] / plan.iters)
    answered = part * answered_tokens(facts["evaluation"], plan)
    left = max(0.0, total - start - looked - part * (plan.iters * each + pauses(facts, plan)))
    allocated = max((point["memory"] for point in points if point.get("memory")), default=None)
    return {
        "run": run.id,
        "kind": kind(facts, form.parameters),
        **likeness(facts),
        "work": arithmetic(facts, form.parameters),
        "seconds": each,
        "start_seconds": start,
        "prepare_seconds": prepare(facts),
        "token_seconds": left / answered if answered else 0.0,
        "predicted_mb": memory(form, facts, cuda=allocated is not None).allocated_mb,
        "allocated_mb": allocated,
        "total_mb": _total_mb(run.telemetry),
    }


def _start_seconds(run: Run) -> float | None:
    """Return the time from the job's start to the first answer: imports, model, data. None if the log does not say."""
    job = run.job
    began = (read_json(job.directory / "pid.json") or {}).get("started") if job else None
    for log in sorted(run.work_dir.glob("*/*.log"))[:1]:
        if found := _FIRST_ANSWER.search(log.read_text(encoding="utf-8", errors="replace")):
            then = datetime.strptime(found[1], "%Y/%m/%d %H:%M:%S").timestamp()
            # The log has a resolution of one second.
            return max(0.0, then + 0.5 - began) if began else None
    return None


def _total_mb(telemetry: Path) -> float | None:
    """Return the rise in GPU memory over the run, else the largest resident memory of the processes while training."""
    samples = []
    for line in read_lines_from(telemetry, 0)[0]:
        try:
            samples.append(json.loads(line))
        except ValueError:
            continue
    cards = [
        sample["gpus"][0]["used_mb"] for sample in samples if sample.get("gpus") and sample["gpus"][0].get("used_mb")
    ]
    if cards:
        return float(max(cards) - cards[0])
    # Second half only: data mapping starts processes that share memory, which a sum counts twice.
    resident = [sample["process_mb"] for sample in samples[len(samples) // 2 :] if sample.get("process_mb")]
    return float(max(resident)) if resident else None
