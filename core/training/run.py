"""The runs of a workspace: `runs/<id>/`, one training each. Starts, watches, stops, resumes and lists them.

run.json is written once; where a run stands is computed from its jobs and its checkpoints.
"""

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import config as configs
from core.data import dataset as datasets
from core.engine import interpreter
from core.engine import model as models
from core.engine.commands import Cluster, as_typed, engine_environment, train_command
from core.engine.presets import PromptTemplate, deepspeed_settings, prompt_templates
from core.ground.errors import BadInput
from core.ground.files import locked, new_directory, read_json, write_json
from core.ground.gpu import gpus
from core.ground.text import Text
from core.ground.workspace import Workspace, directories_with
from core.jobs.job import Job, Status, latest_job
from core.jobs.reasons import reason
from core.training.checkpoint import Checkpoint, checkpoints, last_whole
from core.training.metrics import Metrics
from core.training.timeline import Answers, timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A snapshot of where a run stands. `pid` is the trainer's (rank 0), `reason` why it did not finish."""

    run: str
    status: Status
    pid: int | None
    iter: int
    max_iters: int | None
    iters_per_epoch: int | None
    eta_s: float | None
    seconds: float
    phase: str
    loss: float | None
    exit_code: int | None
    reason: Text | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training, by its directory and what run.json says of it."""

    id: str
    path: Path
    facts: dict[str, Any]

    @property
    def config(self) -> Path:
        return self.path / "config.py"

    @property
    def work_dir(self) -> Path:
        return self.path / "work_dir"

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    @property
    def telemetry(self) -> Path:
        return self.path / "telemetry.jsonl"

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def adapter_stamp(self) -> str | None:
        """Which adapter is there: it may be converted anew from another checkpoint. None without one."""
        made = (read_json(self.adapter / "export.json") or {}).get("made")
        return f"{self.id}:{made}" if made else None

    @property
    def merged(self) -> Path:
        return self.path / "merged"

    @property
    def nickname(self) -> str | None:
        return self.facts["dataset"].get("nickname")

    @property
    def model_path(self) -> Path:
        return Path(self.facts["model"]["path"])

    @property
    def template(self) -> PromptTemplate:
        return prompt_templates()[self.facts["model"]["prompt_template"]]

    @property
    def questions(self) -> list[str]:
        return self.facts["questions"]

    @property
    def job(self) -> Job | None:
        """The newest training job: the first, or the last resume."""
        return latest_job(self.jobs, "train")

    def checkpoints(self) -> list[Checkpoint]:
        return checkpoints(self.work_dir)

    def checkpoint(self, name: str | None = None) -> Checkpoint:
        """The checkpoint `iter_N`, or the last whole one. Raises BadInput where there is none."""
        found = last_whole(self.work_dir) if name is None else None
        if name is not None:
            named = (c for c in self.checkpoints() if name in (c.name, c.path.name, str(c.iter)))
            found = next((c for c in named if c.whole), None)
        if found is None:
            there = ", ".join(checkpoint.name for checkpoint in self.checkpoints()) or "-"
            raise BadInput(
                f"训练 {self.id} 没有可用的检查点 {name or ''}（现有：{there}）：先完成训练",
                f"the run {self.id} has no usable checkpoint {name or ''} (there: {there}): train first",
            )
        return found

    def metrics(self) -> Metrics:
        return Metrics(self.work_dir)

    def timeline(self) -> list[Answers]:
        return timeline(self.work_dir, self.template)

    def state(self, points: list[dict[str, Any]] | None = None) -> State:
        """Where it stands now. `points` are its metrics, read here if not given."""
        job = self.job
        points = self.metrics().read() if points is None else points
        told = job.progress if job else {}
        status = job.status() if job else Status.CRASHED
        why = reason(job) if job else Text("训练没有启动", "the training never started")
        if status is Status.FINISHED and not self._complete(told.get("max_iters")):
            status = Status.FAILED
            why = Text("进程正常退出，但没有最后的检查点", "the process ended well but left no final checkpoint")
        if status is Status.KILLED and told.get("max_iters") and self._complete(told["max_iters"]):
            # The wish to stop came after the last step.
            status, why = Status.FINISHED, None
        live = status.live
        pid = told.get("pid") or (job.pids["command"].pid if job and job.pids["command"] else None)
        return State(
            run=self.id,
            status=status,
            pid=pid if live else None,
            iter=told.get("iter") or (points[-1]["iter"] if points else 0),
            max_iters=told.get("max_iters"),
            iters_per_epoch=told.get("iters_per_epoch"),
            eta_s=told.get("eta_s") if live else None,
            seconds=job.seconds if job else 0.0,
            phase=told.get("note", "import"),
            loss=points[-1]["loss"] if points else None,
            exit_code=(job.exit or {}).get("returncode") if job else None,
            reason=why,
        )

    def stop(self, *, discard: bool = False) -> State:
        """Stop it: with `discard` at once, else after the step and its checkpoint. Returns when nothing of it is left."""
        job = self.job
        if job is None or not job.status().live:
            raise BadInput(f"训练 {self.id} 没有在运行", f"the run {self.id} is not running")
        job.stop(discard=discard)
        return self.state()

    def _complete(self, max_iters: int | None) -> bool:
        last = last_whole(self.work_dir)
        return last is not None and (max_iters is None or last.iter >= max_iters)


def start(
    workspace: Workspace, config_name: str, *, cluster: Cluster | None = None, deepspeed: str | None = None
) -> Run:
    """Start training a config, as a run of its own. Raises BadInput where it cannot be started or another one runs."""
    config = configs.find(workspace, config_name)
    problems = [found for found in configs.check(workspace, config) if found.severity == "error"]
    if problems:
        first = problems[0]
        raise BadInput(
            f"配置 {config_name} 还不能训练：{first.where}：{first.message.zh}",
            f"the config {config_name} cannot be trained yet: {first.where}: {first.message.en}",
        )
    cluster = cluster or Cluster()
    _check_processes(cluster, deepspeed)
    with locked(workspace.runs / ".lock"):
        _refuse_a_second(workspace)
        model, dataset = models.find(workspace, config.model), datasets.find(workspace, config.dataset)
        path = _free_directory(workspace, config_name)
        facts = {
            "id": path.name,
            "created": time.time(),
            "config": {"name": config.name, **config.facts},
            "dataset": {"name": dataset.name, "sha256": dataset.sha256, "rows": dataset.rows, **dataset.made},
            "model": {
                "name": model.name,
                "path": str(model.path),
                "parameters": model.parameters,
                "architecture": model.architecture,
                "prompt_template": model.prompt_template,
            },
            "questions": config.values()["evaluation_inputs"],
            "versions": interpreter.versions(workspace),
            "command": as_typed(
                path / "config.py", path / "work_dir", cluster=cluster, deepspeed=deepspeed, resume=None
            ),
            "cluster": {"nproc": cluster.nproc, "nnodes": cluster.nnodes},
            "deepspeed": deepspeed,
        }
        with new_directory(path) as partial:
            write_json(partial / "run.json", facts)
            shutil.copyfile(config.file, partial / "config.py")
            shutil.copyfile(config.path / "base.py", partial / "base.py")
        run = find(workspace, path.name)
        _launch(workspace, run, cluster, deepspeed, None)
    return run


def resume(workspace: Workspace, run: Run) -> Run:
    """Go on with a run from its last whole checkpoint. Raises BadInput where it runs, is finished or has none."""
    with locked(workspace.runs / ".lock"):
        state = run.state()
        if state.status is Status.FINISHED:
            raise BadInput(f"训练 {run.id} 已经完成", f"the run {run.id} is finished already")
        _refuse_a_second(workspace)
        cluster = Cluster(nproc=run.facts["cluster"]["nproc"], nnodes=run.facts["cluster"]["nnodes"])
        _launch(workspace, run, cluster, run.facts["deepspeed"], run.checkpoint().path)
    return run


def find(workspace: Workspace, run_id: str) -> Run:
    """The run `run_id`, or the newest for `latest`. Raises BadInput where there is none."""
    if run_id == "latest":
        found = every(workspace)
        if not found:
            raise BadInput("还没有训练：先用 train start 开始一次", "there is no run yet: begin one with train start")
        return found[0]
    path = workspace.run(run_id)
    facts = read_json(path / "run.json")
    if facts is None:
        raise BadInput(f"没有训练 {run_id}：用 train list 查看", f"there is no run {run_id}: see train list")
    return Run(id=run_id, path=path, facts=facts)


def every(workspace: Workspace) -> list[Run]:
    """All runs, the newest first."""
    found = [find(workspace, path.name) for path in directories_with(workspace.runs, "run.json")]
    return sorted(found, key=lambda run: run.facts["created"], reverse=True)


def running(workspace: Workspace) -> Run | None:
    """The run that trains now, None if none does."""
    return next((run for run in every(workspace) if (job := run.job) and job.status().live), None)


def _check_processes(cluster: Cluster, deepspeed: str | None) -> None:
    """Raise BadInput for DeepSpeed settings that XTuner does not have, and for processes that could not train here."""
    if deepspeed is not None and deepspeed not in deepspeed_settings():
        raise BadInput(
            f"没有 DeepSpeed 设置 {deepspeed}：可用 {'、'.join(deepspeed_settings())}",
            f"there are no DeepSpeed settings {deepspeed}: use one of {', '.join(deepspeed_settings())}",
        )
    cards = len(gpus())
    if cards and cluster.nproc > cards:
        raise BadInput(
            f"{cluster.nproc} 个进程多于这台机器的 {cards} 张显卡：每张显卡一个进程",
            f"{cluster.nproc} processes are more than the {cards} GPUs of this machine: take one for each",
        )
    if not cards and cluster.distributed and deepspeed is None:
        # mmengine's plain data parallel names a CUDA device for every rank.
        raise BadInput(
            "没有显卡时，多进程训练需要 DeepSpeed：选 deepspeed_zero2",
            "without a GPU several processes train through DeepSpeed only: choose deepspeed_zero2",
        )


def _refuse_a_second(workspace: Workspace) -> None:
    busy = running(workspace)
    if busy is not None:
        raise BadInput(
            f"训练 {busy.id} 正在进行：等它结束，或先停止它",
            f"the run {busy.id} is training: wait for it, or stop it first",
        )


def _launch(workspace: Workspace, run: Run, cluster: Cluster, deepspeed: str | None, checkpoint: Path | None) -> None:
    argv = train_command(workspace, run.config, run.work_dir, cluster=cluster, deepspeed=deepspeed, resume=checkpoint)
    Job.start(run.jobs, "train", argv, env=engine_environment(workspace), telemetry=run.telemetry)


def _free_directory(workspace: Workspace, config_name: str) -> Path:
    slug = re.sub(r"[^\w-]+", "-", config_name)[:40].strip("-")
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{slug}"
    number, path = 1, workspace.run(stem)
    while path.exists():
        number += 1
        path = workspace.run(f"{stem}-{number}")
    return path
