"""What each headless command does: one function a command, through the front doors that the pages use.

Returns the answer as a dictionary with the keys that scripts rely on. The command line itself, its exit codes and
its JSON are in `__main__`.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core import demo
from core.chat import compare
from core.chat.compare import Ask, Sampling
from core.chat.diagnosis import diagnose
from core.chat.score import score
from core.config import config as configs
from core.config.preflight import preflight
from core.data import checks
from core.data import dataset as datasets
from core.engine import model as models
from core.engine.commands import Cluster
from core.engine.presets import matching
from core.export import export
from core.ground import environment
from core.ground.errors import WorkFailed
from core.ground.text import environment_language
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status
from core.jobs.reasons import reason
from core.report import publish, writeup
from core.training import history
from core.training import run as runs

Options = argparse.Namespace
Answer = dict[str, Any]
Command = Callable[[Workspace, Options], Answer]


class ProgressLine:
    """One line on stderr, rewritten as a job goes on."""

    def __init__(self) -> None:
        self.shown = ""

    def __call__(self, job: Job) -> None:
        told = job.progress
        eta = told.get("eta_s")
        line = f"{job.name}: {told.get('note', '')} {100 * told.get('done', 0):.0f} %" + (
            f", {eta:.0f} s left" if eta else ""
        )
        self.show(line, last=not job.status().live)

    def show(self, line: str, *, last: bool = False) -> None:
        if line != self.shown:
            print(f"\r{line:<60}", end="", file=sys.stderr, flush=True)
            self.shown = line
        if last:
            print(file=sys.stderr)


show_progress = ProgressLine()


def doctor(workspace: Workspace, _: Options) -> Answer:
    found = environment.checks(workspace.root)
    return {
        "checks": [{**asdict(check), "hint": str(check.hint) if check.hint else None} for check in found],
        "versions": environment.versions(),
        "gpus": environment.gpus(),
    }


def models_demo(workspace: Workspace, _: Options) -> Answer:
    job = models.build_demo(workspace)
    if job is not None and job.wait(on_progress=show_progress) is not Status.FINISHED:
        why = reason(job)
        raise WorkFailed(
            f"示例模型没有建成：{why.zh if why else ''}。日志：{job.log}",
            f"the demo model was not built: {why.en if why else ''}. Log: {job.log}",
        )
    return models.find(workspace, models.DEMO).to_json()


def models_link(workspace: Workspace, options: Options) -> Answer:
    return models.link(workspace, options.path, options.name).to_json()


def models_check(workspace: Workspace, options: Options) -> Answer:
    return models.find(workspace, options.name).to_json()


def models_list(workspace: Workspace, _: Options) -> Answer:
    return {"models": [model.to_json() for model in models.every(workspace)]}


def dataset_answer(dataset: datasets.Dataset) -> Answer:
    return {
        "name": dataset.name,
        "path": str(dataset.data),
        "rows": dataset.rows,
        "unique_rows": dataset.unique_rows,
        "sha256": dataset.sha256,
    }


def datasets_assistant(workspace: Workspace, options: Options) -> Answer:
    made = datasets.make_assistant(workspace, options.name, options.recipe, n=options.n, name=options.out)
    return dataset_answer(made)


def datasets_import(workspace: Workspace, options: Options) -> Answer:
    made, reading = datasets.import_file(workspace, Path(options.file), options.format, name=options.out)
    problems = [problem.to_json() for problem in checks.check(reading.rows)]
    skipped = [{**left_out, "reason": str(left_out["reason"])} for left_out in reading.skipped]
    return {**dataset_answer(made), "format": reading.format, "skipped": skipped, "problems": problems}


def datasets_check(workspace: Workspace, options: Options) -> Answer:
    dataset = datasets.find(workspace, options.dataset)
    problems = [problem.to_json() for problem in checks.check(dataset.load())]
    return {**dataset_answer(dataset), "format": "xtuner", "skipped": [], "problems": problems}


def datasets_stats(workspace: Workspace, options: Options) -> Answer:
    dataset, model = datasets.find(workspace, options.dataset), models.usable(workspace, options.model)
    return {**dataset_answer(dataset), "tokens": datasets.token_statistics(workspace, dataset, model)}


def datasets_list(workspace: Workspace, _: Options) -> Answer:
    return {"datasets": [dataset_answer(dataset) for dataset in datasets.every(workspace)]}


def config_answer(workspace: Workspace, config: configs.Config) -> Answer:
    problems = [problem.to_json() for problem in configs.check(workspace, config)]
    return {"name": config.name, "path": str(config.file), "problems": problems}


def configs_list(workspace: Workspace, options: Options) -> Answer:
    return {"presets": matching(options.pattern), "configs": [config.name for config in configs.every(workspace)]}


def configs_new(workspace: Workspace, options: Options) -> Answer:
    made = configs.make(
        workspace,
        model=options.model,
        dataset=options.dataset,
        preset=options.preset,
        recipe=options.recipe,
        name=options.out,
        settings=dict(map(configs.parse_setting, options.set or [])),
    )
    return config_answer(workspace, made)


def configs_set(workspace: Workspace, options: Options) -> Answer:
    settings = dict(map(configs.parse_setting, options.settings))
    return config_answer(workspace, configs.change(workspace, options.config, settings))


def configs_diff(workspace: Workspace, options: Options) -> Answer:
    return {"name": options.config, "diff": configs.find(workspace, options.config).diff()}


def configs_preflight(workspace: Workspace, options: Options) -> Answer:
    return preflight(workspace, configs.find(workspace, options.config), history.measured(workspace)).to_json()


def state_answer(run: runs.Run) -> Answer:
    state = run.state()
    return {
        "run": state.run,
        "status": str(state.status),
        "pid": state.pid,
        "iter": state.iter,
        "max_iters": state.max_iters,
        "eta_s": state.eta_s,
        "loss": state.loss,
        "exit_code": state.exit_code,
        "reason": str(state.reason) if state.reason else None,
    }


def followed(run: runs.Run, wait: bool) -> Answer:
    """Where a run stands; with `wait`, when it is over. Raises WorkFailed where it did not finish."""
    if wait and run.job:
        run.job.wait(on_progress=show_progress)
    answer = state_answer(run)
    if wait and answer["status"] != Status.FINISHED:
        why = run.state().reason
        raise WorkFailed(
            f"训练 {run.id} 没有完成（{answer['status']}）：{why.zh if why else ''}",
            f"the run {run.id} did not finish ({answer['status']}): {why.en if why else ''}",
        )
    return answer


def train_start(workspace: Workspace, options: Options) -> Answer:
    cluster = Cluster(
        nproc=options.nproc, nnodes=options.nnodes, node_rank=options.node_rank, addr=options.addr, port=options.port
    )
    return followed(runs.start(workspace, options.config, cluster=cluster, deepspeed=options.deepspeed), options.wait)


def train_status(workspace: Workspace, options: Options) -> Answer:
    return state_answer(runs.find(workspace, options.run))


def train_stop(workspace: Workspace, options: Options) -> Answer:
    run = runs.find(workspace, options.run)
    run.stop(discard=options.discard)
    return state_answer(run)


def train_resume(workspace: Workspace, options: Options) -> Answer:
    return followed(runs.resume(workspace, runs.find(workspace, options.run)), options.wait)


def train_list(workspace: Workspace, _: Options) -> Answer:
    return {"runs": [state_answer(run) for run in runs.every(workspace)]}


def train_metrics(workspace: Workspace, options: Options) -> Answer:
    return {"points": runs.find(workspace, options.run).metrics().read()}


def export_step(step: export.Step) -> Command:
    """The command for one step of the export."""

    def command(workspace: Workspace, options: Options) -> Answer:
        run = runs.find(workspace, options.run)
        job = export.start(workspace, run, [step], getattr(options, "checkpoint", None))
        found = export.finish(run, job, on_progress=show_progress)[step]
        if step == "verify":
            return {key: found[key] for key in ("max_abs_logit_diff", "same_tokens", "ok")}
        there = export.exported(run)
        made = there.adapter if step == "convert" else there.merged
        return {"path": made["path"], "seconds": found["seconds"], "bytes": made["bytes"]}

    return command


def chat_ask(workspace: Workspace, options: Options) -> Answer:
    run = None if options.model and not options.run else runs.find(workspace, options.run or "latest")
    sides = ("base", "tuned") if run else ("base",)
    worker = compare.worker_for(workspace, run, options.model).wait_ready(on_progress=show_progress)
    try:
        asks = [Ask(side=side, turns=[(options.prompt, None)]) for side in sides]
        lines = worker.ask(asks, Sampling(max_new_tokens=options.max_new_tokens))
    finally:
        worker.stop()
    keys = ("answer", "ttft_ms", "tokens_per_s")
    found = {side: {key: line[key] for key in keys} for side, line in zip(sides, lines, strict=True)}
    return {"base": found["base"], "tuned": found.get("tuned")}


def chat_score(workspace: Workspace, options: Options) -> Answer:
    run = runs.find(workspace, options.run)
    if options.checkpoint or export.exported(run).adapter is None:
        export.finish(run, export.start(workspace, run, ["convert"], options.checkpoint), on_progress=show_progress)
    worker = compare.worker_for(workspace, run).wait_ready(on_progress=show_progress)
    try:
        scores = score(run, worker)
    finally:
        worker.stop()
    found = diagnose(scores)
    return {**scores.to_json(), "diagnosis": str(found.words), "next_step": str(found.next_step)}


def report_build(workspace: Workspace, options: Options) -> Answer:
    out = Path(options.out) if options.out else None
    report = writeup.build(workspace, runs.find(workspace, options.run), environment_language(), out)
    return {"path": str(report.path), "files": report.files}


def publish_package(workspace: Workspace, options: Options) -> Answer:
    out = Path(options.out) if options.out else None
    made = publish.package(runs.find(workspace, options.run), options.target, out)
    return {"path": str(made.path), "files": made.files}


def demo_run(workspace: Workspace, options: Options) -> Answer:
    def tell(told: dict[str, Any]) -> None:
        now = next((stage for stage in told["stages"] if stage["status"] == "running"), None)
        if now:
            show_progress.show(f"{now['name']}: {100 * now['done']:.0f} %, {now['seconds']:.0f} s")

    return demo.run(workspace, options.name, environment_language(), demo.progress_writer() or tell)
