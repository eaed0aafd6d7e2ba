"""Row lengths of a dataset with a model's own tokenizer, and what a maximum length truncates.

Counting runs in another process; of more than 60,000 rows at most 20,000 are counted, and the page says so.
"""

from dataclasses import dataclass

import numpy as np

from core.data import tokens
from core.data.storage import Dataset
from core.data.tokens import MOST_COUNTED, SAMPLE, Lengths
from core.engine.presets import PromptTemplate
from core.ground.workspace import Workspace
from core.jobs.job import Job
from core.models.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Tokens of a dataset's rows: total, median, 95th percentile and longest row."""

    rows: int
    counted: int
    total: int
    p50: int
    p95: int
    max: int
    lengths: np.ndarray

    @property
    def sampled(self) -> bool:
        return self.counted < self.rows

    def cut(self, max_length: int) -> tuple[int, int]:
        """Return the rows longer than `max_length` tokens and the tokens beyond it; scaled up for a sample."""
        over = self.lengths[self.lengths > max_length]
        scale = self.rows / max(1, self.counted)
        return round(len(over) * scale), round(float((over - max_length).sum()) * scale)

    def longest(self, max_length: int, most: int = 20) -> list[tuple[int, int]]:
        """Return (row from 1, tokens) of the longest rows beyond `max_length`; empty for a sample."""
        if self.sampled:
            return []
        order = np.argsort(-self.lengths.astype(np.int64), kind="stable")[:most]
        return [(int(place) + 1, int(self.lengths[place])) for place in order if self.lengths[place] > max_length]

    def histogram(self, bins: int = 40) -> tuple[np.ndarray, np.ndarray]:
        """Return up to `bins` equal bins of length: (center of each bin in tokens, rows)."""
        top = int(self.max) + 1
        counts, edges = np.histogram(self.lengths, bins=min(bins, top), range=(0, top))
        return ((edges[:-1] + edges[1:]) / 2).round(1), counts

    def to_json(self) -> dict[str, int]:
        return {"total": self.total, "p50": self.p50, "p95": self.p95, "max": self.max}


def every_of(dataset: Dataset) -> int:
    """Return the sampling step: 1 up to 60,000 rows, else one that counts at most 20,000 rows.

    The step is not divisible by 2 or 5, so that a sample represents rows that repeat every second or tenth time.
    """
    if dataset.rows <= MOST_COUNTED:
        return 1
    step = -(-dataset.rows // SAMPLE)
    while step % 2 == 0 or step % 5 == 0:
        step += 1
    return step


def template_of(model: Model, texts: bool = False) -> PromptTemplate | None:
    """Return the prompt template that a model's rows are wrapped in; None for texts."""
    return None if texts else model.prompt_template


def count(workspace: Workspace, dataset: Dataset, model: Model, *, exact: bool = False) -> Statistics:
    """Count tokens now. Raises WorkFailed if the engine fails."""
    every = 1 if exact else every_of(dataset)
    template = template_of(model, is_text(dataset))
    return _statistics(tokens.count(workspace, model, dataset.data, dataset.sha256, template, every=every))


def start(workspace: Workspace, dataset: Dataset, model: Model) -> Job:
    """Count tokens as a job."""
    template = template_of(model, is_text(dataset))
    return tokens.start_count(workspace, model, dataset.data, dataset.sha256, template, every=every_of(dataset))


def kept(workspace: Workspace, dataset: Dataset, model: Model) -> Statistics | None:
    """Return the stored result; None if nothing was counted."""
    template = template_of(model, is_text(dataset))
    for every in dict.fromkeys((1, every_of(dataset))):
        found = tokens.kept_lengths(workspace, model, dataset.sha256, template, every)
        if found is not None:
            return _statistics(found)
    return None


def is_text(dataset: Dataset) -> bool:
    """Return whether a dataset consists of texts, which are trained on as they are, without a prompt template."""
    return dataset.is_text


def _statistics(found: Lengths) -> Statistics:
    lengths = np.frombuffer(found.lengths, dtype=np.uint32).astype(np.int64)
    ordered = np.sort(lengths)
    at = lambda share: int(ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))])  # noqa: E731
    return Statistics(
        rows=found.rows,
        counted=len(lengths),
        total=found.total,
        p50=at(0.5),
        p95=at(0.95),
        max=int(ordered[-1]),
        lengths=lengths,
    )
