"""One shared reader per run: its history, machine samples and answers, read incrementally.

`look` returns an immutable snapshot; while nothing is new, it is the same object.
"""

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from core.jobs.samples import Samples
from core.training.curves import Curves, iterations_at, seconds_at
from core.training.run import Run
from core.training.timeline import Answers, Timeline


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A snapshot of a run.

    `history` holds the columns of `Curves`, `machine` those of `Samples`, `sample` is the newest sample. Seconds count
    from the first sample, without the time between a stop and a resume, so that both share one axis.
    """

    history: dict[str, np.ndarray]
    machine: dict[str, np.ndarray]
    sample: dict[str, Any]
    answers: tuple[Answers, ...]
    anchors: np.ndarray

    @cached_property
    def history_seconds(self) -> np.ndarray:
        """When each iteration of the history was done."""
        return seconds_at(self.history, self.anchors)

    @cached_property
    def machine_iterations(self) -> np.ndarray:
        """The iteration that the run was at for each sample."""
        return iterations_at(self.machine["seconds"], self.anchors)

    @property
    def points(self) -> list[dict[str, Any]]:
        """The last point of the history, as `Run.state_at` takes it; empty before there is one."""
        if not len(self.history["iter"]):
            return []
        loss = float(self.history["loss"][-1])
        return [{"iter": int(self.history["iter"][-1]), "loss": loss if np.isfinite(loss) else None}]

    @property
    def seconds(self) -> float:
        """How long the run has trained, as far as reported."""
        told = self.machine["seconds"] if len(self.machine["seconds"]) else self.history_seconds
        return float(told[-1]) if len(told) else 0.0

    @property
    def gap(self) -> int | None:
        """The first iteration whose loss is not a number; None if all are."""
        gaps = np.isnan(self.history["loss"])
        return int(self.history["iter"][gaps.argmax()]) if gaps.any() else None


class Watch:
    """The reader of one run; thread-safe."""

    def __init__(self, run: Run) -> None:
        self._curves = Curves(run.work_dir)
        self._samples = Samples(run.telemetry)
        self._timeline = Timeline(run.work_dir, run.template)
        self._lock = threading.Lock()
        self._seen: Seen | None = None

    def look(self) -> Seen:
        """Return the current snapshot."""
        with self._lock:
            before = self._samples.count
            news = self._curves.read()
            self._samples.read()
            answers = tuple(self._timeline.read())
            if self._seen and not news and before == self._samples.count and answers == self._seen.answers:
                return self._seen
            self._seen = Seen(
                history=self._curves.columns(),
                machine={"seconds": np.empty(0), **self._samples.columns()},
                sample=self._samples.last,
                answers=answers,
                anchors=self._samples.anchors,
            )
            return self._seen
