"""What Slurm is asked for: the options of srun and sbatch for a training run. Starts nothing."""

from core.engine.cluster import Cluster

# How long before its time is over a job is warned. Slurm's own precision is a minute.
_WARNING_SECONDS, _LEAST_MINUTES = 120, 10


def sbatch_options(cluster: Cluster, name: str, gpu: bool) -> list[str]:
    """Return the options of a batch job: what it is called and what it needs.

    Its supervisor is warned before its time is over, so that training can save a checkpoint.
    """
    words = _allocation(cluster, gpu, name)
    enough = cluster.time is None or _minutes(cluster.time) >= _LEAST_MINUTES
    return [*words, f"--signal=B:USR1@{_WARNING_SECONDS}"] if enough else words


def srun(cluster: Cluster, gpu: bool) -> list[str]:
    """Return the srun prefix: one task per process on every node; if one dies, the others are killed too."""
    # Within a batch job, the rest is known from the job.
    words = _shape(cluster, gpu) if cluster.batch else _allocation(cluster, gpu, "xtuner")
    return ["srun", *words, "--kill-on-bad-exit=1"]


def _allocation(cluster: Cluster, gpu: bool, name: str) -> list[str]:
    words = [f"--partition={cluster.partition}"] if cluster.partition else []
    words.append(f"--job-name={name}")
    words += [f"--time={cluster.time}"] if cluster.time else []
    return [*words, *_shape(cluster, gpu), *cluster.slurm_options]


def _shape(cluster: Cluster, gpu: bool) -> list[str]:
    words = [f"--nodes={cluster.nnodes}", f"--ntasks-per-node={cluster.nproc}"]
    return words + ([f"--gres=gpu:{cluster.nproc}"] if gpu else [])


def _minutes(time: str) -> float:
    """Return Slurm's time limit in minutes: minutes[:seconds], hours:minutes:seconds, days-hours[:minutes[:seconds]]."""
    days, _, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if days:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return int(days) * 1440 + hours * 60 + minutes + seconds / 60
    if len(parts) == 3:
        return parts[0] * 60 + parts[1] + parts[2] / 60
    minutes, seconds = (*parts, 0)[:2]
    return minutes + seconds / 60
