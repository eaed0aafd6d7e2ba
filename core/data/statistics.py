"""How long the rows of a dataset are with a model's own tokenizer, and what a limit on the length cuts off.

The counting runs outside this process; of more than 60,000 rows at most 20,000 are counted, and the page
says so.
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
    """Tokens of a dataset's rows: in all, of the median, the 95th percentile and the longest row."""

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
        """Rows that are longer than `max_length` tokens, and the tokens beyond it; of a sample, scaled up."""
        over = self.lengths[self.lengths > max_length]
        scale = self.rows / max(1, self.counted)
        return round(len(over) * scale), round(float((over - max_length).sum()) * scale)

    def longest(self, max_length: int, most: int = 20) -> list[tuple[int, int]]:
        """(row from 1, tokens) of the longest rows beyond `max_length`; empty of a sample, whose rows are not all seen."""
        if self.sampled:
            return []
        order = np.argsort(-self.lengths.astype(np.int64), kind="stable")[:most]
        return [(int(place) + 1, int(self.lengths[place])) for place in order if self.lengths[place] > max_length]

    def histogram(self, bins: int = 40) -> tuple[np.ndarray, np.ndarray]:
        """Rows in each of up to `bins` equal steps of length: (the middle of each step in tokens, rows)."""
        top = int(self.max) + 1
        counts, edges = np.histogram(self.lengths, bins=min(bins, top), range=(0, top))
        return ((edges[:-1] + edges[1:]) / 2).round(1), counts

    def to_json(self) -> dict[str, int]:
        return {"total": self.total, "p50": self.p50, "p95": self.p95, "max": self.max}


def every_of(dataset: Dataset) -> int:
    """Of how many rows one is counted: all up to 60,000, and at most 20,000 of more.

    A step that 2 and 5 do not divide, so that rows that come every second or tenth time are seen as often as they are.
    """
    if dataset.rows <= MOST_COUNTED:
        return 1
    step = -(-dataset.rows // SAMPLE)
    while step % 2 == 0 or step % 5 == 0:
        step += 1
    return step


def template_of(model: Model, texts: bool = False) -> PromptTemplate | None:
    """The prompt template that a model's rows are wrapped in; none for texts."""
    return None if texts else model.prompt_template


def count(workspace: Workspace, dataset: Dataset, model: Model, *, exact: bool = False) -> Statistics:
    """Count now. Raises WorkFailed where the engine cannot."""
    every = 1 if exact else every_of(dataset)
    template = template_of(model, is_text(dataset))
    return _statistics(tokens.count(workspace, model, dataset.data, dataset.sha256, template, every=every))


def start(workspace: Workspace, dataset: Dataset, model: Model) -> Job:
    """Count as a job."""
    template = template_of(model, is_text(dataset))
    return tokens.start_count(workspace, model, dataset.data, dataset.sha256, template, every=every_of(dataset))


def kept(workspace: Workspace, dataset: Dataset, model: Model) -> Statistics | None:
    """What was counted before; None if nothing was."""
    template = template_of(model, is_text(dataset))
    for every in dict.fromkeys((1, every_of(dataset))):
        found = tokens.kept_lengths(workspace, model, dataset.sha256, template, every)
        if found is not None:
            return _statistics(found)
    return None


def is_text(dataset: Dataset) -> bool:
    """Whether a dataset is of texts, which are trained on as they are, without a prompt template."""
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
