"""One run on disk: `runs/<id>/`, its paths, run.json, checkpoints and state.

run.json is written once; the state is computed from jobs and checkpoints. Starts nothing.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config.settings.method import prompt_template
from core.engine.cluster import Cluster
from core.engine.config_file import ConfigFile
from core.engine.config_text import read
from core.engine.presets import PromptTemplate, prompt_templates
from core.ground.errors import BadInput
from core.ground.files import read_json
from core.jobs.job import Job, jobs_in, latest_job
from core.jobs.queue import Queue
from core.training.checkpoint import Checkpoint, checkpoints, last_whole
from core.training.facts import RunFacts
from core.training.metrics import Metrics
from core.training.state import State, compute
from core.training.timeline import Answers, timeline

if TYPE_CHECKING:
    from core.training.early_stop import Learned


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: its directory and run.json."""

    id: str
    path: Path
    facts: RunFacts

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
        """Identifies the current adapter, which may be converted again from another checkpoint. None without one."""
        made = (read_json(self.adapter / "export.json") or {}).get("made")
        return f"{self.id}:{made}" if made else None

    @property
    def merged(self) -> Path:
        return self.path / "merged"

    @property
    def nickname(self) -> str | None:
        return self.facts.dataset.nickname

    @property
    def model_path(self) -> Path:
        """The base model in the workspace, also if that lay elsewhere when the run started."""
        written = Path(self.facts.model.path)
        here = self.path.parents[1] / "models" / written.name
        return here if os.path.lexists(here) else written

    @property
    def workspace_then(self) -> Path:
        """Where the workspace was when the run started, whose texts name paths there."""
        models = Path(self.facts.model.path).parent
        return models.parent if models.name == "models" else self.path.parents[1]

    @property
    def template(self) -> PromptTemplate:
        """The prompt template it is trained with; the config's, if an earlier version did not record it."""
        if self.facts.template is not None:
            return self.facts.template
        usual = prompt_templates().get(self.facts.model.prompt_template, prompt_templates()["default"])
        return template_in(self.config, usual)

    @property
    def questions(self) -> list[str]:
        return self.facts.questions

    @property
    def learned(self) -> "Learned | None":
        """What early stopping has measured so far; None if it is off or has not checked yet."""
        if not self.facts.early_stop:
            return None
        from core.training.early_stop import learned

        return learned(self.path)

    @property
    def job(self) -> Job | None:
        """The newest training job: the first, or the last resume."""
        return latest_job(self.jobs, "train")

    @property
    def cluster(self) -> Cluster:
        return self.facts.cluster

    @property
    def begun(self) -> bool:
        """Whether it ever started to train; not if it was removed from the queue."""
        return any(job.begun for job in jobs_in(self.jobs, "train"))

    @property
    def waits_in_slurm(self) -> bool:
        """Whether Slurm has not yet given it a machine."""
        return bool(self.job and self.job.waits_in_slurm)

    @property
    def seconds(self) -> float:
        """Total training time over all its jobs: the figure used by every page and the report."""
        return sum(job.seconds for job in jobs_in(self.jobs, "train"))

    def checkpoints(self) -> list[Checkpoint]:
        return checkpoints(self.work_dir, self.cluster.ranks)

    def checkpoint(self, name: str | None = None) -> Checkpoint:
        """The checkpoint `iter_N`, or the last complete one. Raises BadInput if there is none."""
        if name is None:
            chosen = last_whole(self.work_dir, self.cluster.ranks)
        else:
            named = (c for c in self.checkpoints() if name in (c.name, c.path.name, str(c.iter)))
            chosen = next((c for c in named if c.whole), None)
        if chosen is None:
            there = ", ".join(checkpoint.name for checkpoint in self.checkpoints()) or "-"
            raise BadInput(
                f"训练 {self.id} 没有可用的检查点 {name or ''}（现有：{there}）：先完成训练",
                f"the run {self.id} has no usable checkpoint {name or ''} (available: {there}): train first",
            )
        return chosen

    def metrics(self) -> Metrics:
        return Metrics(self.work_dir)

    def timeline(self) -> list[Answers]:
        return timeline(self.work_dir, self.template)

    def state(self) -> State:
        """Its current state, with the last loss of its metrics."""
        points = self.metrics().read()
        return self.state_at(points[-1] if points else None)

    def state_at(self, last_point: Mapping[str, Any] | None) -> State:
        """Return its current state, given its `last_point` (`iter`, `loss`).

        None if there is none, or if the loss is not needed: the metrics of a long run take a while to read.
        """
        return compute(
            self.id,
            self.job,
            last_point,
            seconds=self.seconds,
            complete=self._complete,
            place=self._place,
            follows=self.cluster.node_rank > 0,
        )

    def stop(self, *, discard: bool = False) -> State:
        """Stop it: with `discard` immediately, otherwise after the current step and a checkpoint.

        Returns when no process is left. Raises BadInput if it is not running.
        """
        job = self.job
        if job is None or not job.status().live:
            raise BadInput(f"训练 {self.id} 没有在运行", f"the run {self.id} is not running")
        job.stop(discard=discard)
        return self.state()

    def _complete(self, max_iters: int | None) -> bool:
        early = self.learned
        if early and early.stopped_at and max_iters:
            max_iters = min(max_iters, early.stopped_at)
        if self.cluster.node_rank > 0:
            # The checkpoints are on machine 0.
            progress = self.job.progress if self.job else {}
            return max_iters is not None and progress.get("iter", 0) >= max_iters
        last = last_whole(self.work_dir, self.cluster.ranks)
        return last is not None and (max_iters is None or last.iter >= max_iters)

    def _place(self, job: Job) -> int | None:
        place = job.spec.get("queue")
        if (in_slurm := job.slurm) is not None and in_slurm.waiting:
            return in_slurm.place
        return Queue(Path(place)).place(job) if place else None


def template_in(config: Path, usual: PromptTemplate) -> PromptTemplate:
    """Return the prompt template that a config.py trains with; `usual` if it names none."""
    try:
        return _template_in(str(config), config.stat().st_mtime_ns) or usual
    except (OSError, BadInput):
        return usual


@lru_cache(maxsize=256)
def _template_in(config: str, _changed: int) -> PromptTemplate | None:
    return prompt_template(ConfigFile(read(Path(config))))
