"""One reader for all who watch a run: its history, its machine and its answers, read on where the last look ended.

A look gives a snapshot that nobody changes; while nothing is new it is the same one.
"""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.jobs.samples import Samples
from core.training.curves import Curves, iterations_at, seconds_at
from core.training.run import Run
from core.training.timeline import Answers, Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A run as far as it was told.

    `history` are the columns of `Curves` and `seconds`, when each iteration was done; `machine` those of `Samples`
    and `iter`, where the run was then; `sample` is the newest sample. Seconds count from the first sample on, without
    the time between a stop and a resume, so that both share one axis.
    """

    history: dict[str, np.ndarray]
    machine: dict[str, np.ndarray]
    sample: dict[str, Any]
    answers: tuple[Answers, ...]

    @property
    def points(self) -> list[dict[str, Any]]:
        """The last point of the history, as `Run.state` takes it; empty before there is one."""
        if not len(self.history["iter"]):
            return []
        loss = float(self.history["loss"][-1])
        return [{"iter": int(self.history["iter"][-1]), "loss": loss if np.isfinite(loss) else None}]

    @property
    def seconds(self) -> float:
        """How long the run has run, as far as it was told."""
        ends = [part["seconds"][-1] for part in (self.history, self.machine) if len(part["seconds"])]
        return float(max(ends, default=0.0))

    @property
    def gap(self) -> int | None:
        """The first iteration whose loss is no number; None where all are."""
        gaps = np.flatnonzero(np.isnan(self.history["loss"]))
        return int(self.history["iter"][gaps[0]]) if len(gaps) else None


class Watch:
    """The reader of one run; may be shared by threads."""

    def __init__(self, run: Run) -> None:
        self._curves = Curves(run.work_dir)
        self._samples = Samples(run.telemetry)
        self._timeline = Timeline(run.work_dir, run.template)
        self._lock = threading.Lock()
        self._seen: Seen | None = None

    def look(self) -> Seen:
        """What there is now."""
        with self._lock:
            before = self._samples.count
            news = self._curves.read()
            self._samples.read()
            answers = tuple(self._timeline.read())
            if self._seen and not news and before == self._samples.count and answers == self._seen.answers:
                return self._seen
            history, machine, anchors = self._curves.columns(), self._samples.columns(), self._samples.anchors
            history["seconds"] = seconds_at(history, anchors)
            machine.setdefault("seconds", np.empty(0))
            machine["iter"] = iterations_at(machine["seconds"], anchors)
            self._seen = Seen(history=history, machine=machine, sample=self._samples.last, answers=answers)
            return self._seen
