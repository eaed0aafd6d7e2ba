"""The runs of a workspace: start, resume, find and list them, and reorder the queue.

One run trains at a time; later ones wait in the workspace's queue.
"""

import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from core.config import config as configs
from core.config import keeping
from core.config.check import check as check_config
from core.data import dataset as datasets
from core.engine import interpreter
from core.engine.cluster import Cluster
from core.engine.commands import as_typed, start_as_typed
from core.engine.consent import refuse
from core.forecast.space import check_space, estimate
from core.forecast.warmup import check_warmup
from core.ground.clock import Moment, since_boot
from core.ground.errors import BadInput
from core.ground.files import new_directory, write_json, write_text
from core.ground.lock import locked
from core.ground.problem import Problem
from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.jobs.queue import Queue
from core.models import model as models
from core.training.cluster import check_cluster, with_port
from core.training.early_stop import plan as early_stop_plan
from core.training.early_stop import usual as ends_early
from core.training.facts import ConfigFacts, DatasetFacts, ModelFacts, RunFacts
from core.training.find import every
from core.training.find import find as find
from core.training.launch import launch
from core.training.record import Run, template_in


def start(
    workspace: Workspace,
    config_name: str,
    *,
    cluster: Cluster | None = None,
    deepspeed: str | None = None,
    asked: float | None = None,
    early_stop: bool | None = False,
    keep: bool | None = False,
    on_warning: Callable[[Problem], None] = lambda _problem: None,
) -> Run:
    """Start a run of a config; it is queued while another one trains.

    `on_warning` is called with each problem that does not prevent training.

    `early_stop`: stop once the identity is learned and other answers are kept; None: the recipe decides. `keep`: teach
    only what the base model would not say by itself; None: the dataset decides.

    `asked`: the time of the request, in seconds since boot (default: now). If the same training was started since then,
    by a second click or another server, that run is returned and no second one starts. Raises BadInput if the config
    cannot train.
    """
    asked = since_boot() if asked is None else asked
    config = configs.find(workspace, config_name)
    cluster = cluster or Cluster()
    problems = before_start(workspace, config_name, cluster, deepspeed)
    for problem in problems:
        if problem.severity == "warning":
            on_warning(problem)
    first = next((problem for problem in problems if problem.severity == "error"), None)
    if first is not None:
        raise BadInput(
            f"配置 {config_name} 还不能训练：{first.where}：{first.message.zh}；{first.hint.zh}",
            f"cannot train with the config {config_name} yet: {first.where}: {first.message.en}; {first.hint.en}",
        )
    model, dataset = models.find(workspace, config.model), datasets.find(workspace, config.dataset)
    if early_stop is None:
        early_stop = ends_early(config, dataset, model, cluster, deepspeed)
    if keep is None:
        keep = keeping.usual(config.values(), dataset, model)
    if keep:
        keeping.check(config.name, config.values())
    with locked(workspace.runs / ".lock"):
        same = _started_since(workspace, asked, config, cluster, deepspeed, early_stop, keep)
        if same is not None:
            return same
        with_port(cluster, alone=running_here(workspace) is None)
        path = _free_directory(workspace, config_name)
        template = model.prompt.complete(template_in(config.file, model.prompt_template))
        facts = RunFacts(
            id=path.name,
            created=time.time(),
            serial=max((run.facts.serial for run in every(workspace)), default=0) + 1,
            asked=Moment.now(),
            config=ConfigFacts.of(config),
            dataset=DatasetFacts.of(dataset),
            model=ModelFacts.of(model),
            template=template,
            early_stop=early_stop_plan(config, dataset, model, template, cluster, deepspeed, keep)
            if early_stop
            else None,
            keep=keep,
            questions=config.questions(),
            lora_r=_rank(config),
            versions=interpreter.versions(workspace),
            command=as_typed(
                path / "config.py",
                path / "work_dir",
                cluster=cluster,
                deepspeed=deepspeed,
                resume=None,
                gpu=config.facts["gpu"],
            ),
            # Slurm starts the processes of all machines itself.
            commands=start_as_typed(config.name, cluster, deepspeed)
            if cluster.nnodes > 1 and cluster.launcher == "pytorch"
            else [],
            cluster=cluster,
            deepspeed=deepspeed,
        )
        with new_directory(path) as partial:
            write_json(partial / "run.json", facts.to_json())
            # Execute exactly the text that the user agreed to, even if the config's file changes later.
            write_text(partial / "config.py", refuse(workspace, config.file))
            shutil.copyfile(config.path / "base.py", partial / "base.py")
        run = find(workspace, path.name)
        try:
            launch(workspace, run, None)
        except BaseException as error:
            # Slurm refused it, or was never asked: it never was a run.
            if cluster.batch or isinstance(error, BadInput):
                shutil.rmtree(path)
            raise
    return run


def resume(workspace: Workspace, run: Run) -> Run:
    """Resume a run from its last complete checkpoint, behind the queued runs; a run that never began starts.

    Raises BadInput if it is live or finished, has no complete checkpoint, or its model is no longer usable.
    """
    with locked(workspace.runs / ".lock"):
        state = run.state()
        if state.status is Status.FINISHED:
            raise BadInput(f"训练 {run.id} 已经完成", f"the run {run.id} has already finished")
        if state.status.live:
            raise BadInput(
                f"训练 {run.id} 正在进行或排队：先停止它",
                f"the run {run.id} is already in progress or queued: stop it first",
            )
        # The model's code may have changed since the run began.
        models.usable(workspace, run.facts.model.name)
        refuse(workspace, run.config)
        launch(workspace, run, _to_go_on_from(run) if run.begun else None)
    return run


def _to_go_on_from(run: Run) -> Path:
    """Return the last complete checkpoint.

    Raises BadInput if there is none; on a further machine, with instructions.
    """
    if run.cluster.node_rank and not any(checkpoint.whole for checkpoint in run.checkpoints()):
        raise BadInput(
            f"检查点只在 0 号机器上：把那里最后的 iter_N.pth 拷到 {run.work_dir}（已有同名目录时并入），再在每台机器上继续",
            f"the checkpoints are on machine 0: copy its last iter_N.pth to {run.work_dir} (or, if it is a directory, the entire directory), then resume on every machine",
        )
    return run.checkpoint().path


def before_start(
    workspace: Workspace, config_name: str, cluster: Cluster | None = None, deepspeed: str | None = None
) -> list[Problem]:
    """Return all problems with training a config on this machine now: settings, files, disk space.

    Raises BadInput for a missing config and for processes that cannot train here.
    """
    config = configs.find(workspace, config_name)
    check_cluster(cluster or Cluster(), deepspeed, gpu=config.facts["gpu"])
    problems = check_config(workspace, config)
    if any(problem.severity == "error" for problem in problems):
        return problems
    cluster = cluster or Cluster()
    problems += check_warmup(workspace, config, cluster.nproc * cluster.nnodes)
    like = (config.model, _rank(config), deepspeed)
    measured = next(
        (
            max(checkpoint.bytes for checkpoint in whole)
            for run in every(workspace)
            if (run.facts.model.name, run.facts.lora_r, run.facts.deepspeed) == like
            and (whole := [checkpoint for checkpoint in run.checkpoints() if checkpoint.whole])
        ),
        None,
    )
    workspace.runs.mkdir(exist_ok=True)
    estimated = estimate(
        config,
        models.find(workspace, config.model),
        deepspeed=deepspeed,
        processes=cluster.nproc * cluster.nnodes,
    )
    return problems + check_space(workspace.runs, config.values().get("save_total_limit"), estimated, measured=measured)


def running(workspace: Workspace) -> Run | None:
    """Return the run that trains now, or is about to, here or in Slurm; None if there is none."""
    return running_of(workspace, every(workspace))


def running_here(workspace: Workspace) -> Run | None:
    """Return the same among those that wait in our queue: a batch job needs neither it nor this machine."""
    return running_of(workspace, [run for run in every(workspace) if not run.cluster.batch])


def running_of(workspace: Workspace, found: Sequence[Run]) -> Run | None:
    """Return the same among `found`, for a caller who has read the runs already."""
    live = [(run, status) for run in found if (job := run.job) and (status := job.status()).live]
    if not live:
        return None
    training = [run for run, status in live if status is Status.RUNNING]
    training += [run for run, status in live if status is Status.PENDING and run.waits_in_slurm]
    return next(iter(training or queued(workspace, found) or [run for run, _ in live]))


def queued(workspace: Workspace, found: Sequence[Run] | None = None) -> list[Run]:
    """Return the queued runs, next one first; among `found`, if the runs have been read already."""
    waiting = [job.directory.parent.parent.name for job in Queue(workspace.queue).waiting()]
    if not waiting:
        return []
    there = {run.id: run for run in (every(workspace) if found is None else found)}
    return [there[run_id] for run_id in waiting if run_id in there]


def move(workspace: Workspace, run: Run, place: int) -> None:
    """Move a queued run to `place`, 1 being next. Raises BadInput if it is not queued."""
    queue = Queue(workspace.queue)
    if run.job is None or queue.place(run.job) is None:
        raise BadInput(
            f"训练 {run.id} 不在排队：用 train queue 查看", f"the run {run.id} is not queued: run train queue"
        )
    if place < 1:
        raise BadInput(f"位置 {place} 不可用：从 1 开始", f"the position {place} is invalid: 1 is next")
    queue.move(run.job, place)


def _started_since(
    workspace: Workspace,
    asked: float,
    config: configs.Config,
    cluster: Cluster,
    deepspeed: str | None,
    early_stop: bool,
    keep: bool,
) -> Run | None:
    """Return the live run of the same training that was started after `asked`."""
    for run in every(workspace):
        began = run.facts.asked
        if began is None or began.age() is None or began.at < asked:
            continue
        same = (run.facts.config.name, run.cluster, run.facts.deepspeed) == (config.name, cluster, deepspeed)
        same = same and (bool(run.facts.early_stop), run.facts.keep) == (early_stop, keep)
        if same and run.config.read_text(encoding="utf-8") == config.text() and run.state_at(None).status.live:
            return run
    return None


def _rank(config: configs.Config) -> int | None:
    """Return the rank of the adapter that a config trains; None for full fine-tuning."""
    rank = config.values()["r"]
    return rank if isinstance(rank, int) else None


def _free_directory(workspace: Workspace, config_name: str) -> Path:
    slug = re.sub(r"[^\w-]+", "-", config_name)[:40].strip("-")
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{slug}"
    number, path = 1, workspace.run(stem)
    while path.exists():
        number += 1
        path = workspace.run(f"{stem}-{number}")
    return path
