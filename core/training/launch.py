"""Starts the training job of a run: the engine's command, its environment, and whose queue it waits in."""

from pathlib import Path

from core.engine.commands import engine_environment, train_command
from core.engine.slurm_options import sbatch_options
from core.ground.workspace import Workspace
from core.jobs.job import Job
from core.models.answers import answers_file
from core.training.cluster import cluster_environment, with_port
from core.training.record import Run


def launch(workspace: Workspace, run: Run, checkpoint: Path | None) -> None:
    """Start it from `checkpoint`, or from the beginning. Raises BadInput if Slurm refuses it."""
    cluster = with_port(run.cluster, alone=False)
    argv = train_command(
        workspace,
        run.config,
        run.work_dir,
        cluster=cluster,
        deepspeed=run.facts.deepspeed,
        resume=checkpoint,
        gpu=run.facts.config.gpu,
    )
    env = {**engine_environment(workspace), **cluster_environment(cluster)}
    if answers := answers_file(workspace, run.model_path):
        env["XTUNER_STUDIO_ANSWERS"] = str(answers)
    if run.facts.early_stop:
        env["XTUNER_STUDIO_EARLY_STOP"] = str(run.path / "run.json")
    if run.facts.keep:
        env["XTUNER_STUDIO_KEEP"] = "texts" if run.facts.dataset.is_text else "answers"
    # A further machine trains when machine 0 has its turn; batch jobs wait in Slurm's own queue.
    queue = workspace.queue if cluster.node_rank == 0 and not cluster.batch else None
    sbatch = sbatch_options(cluster, "xtuner", run.facts.config.gpu) if cluster.batch else None
    Job.start(run.jobs, "train", argv, env=env, telemetry=run.telemetry, queue=queue, sbatch=sbatch)
