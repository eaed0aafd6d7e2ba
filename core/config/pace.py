"""The pace of the recipe `fast`: batch, epochs, learning rate and rank for a model and a few rows. Makes no edits."""

import math
from dataclasses import dataclass
from typing import Self

from core.config.fit import Fit
from core.models.model import Model

# From `benchmarks.sweep` on two real models (docs/recipes.md): everything is learned by then, and with the default loss
# the rest only gets worse; larger batches, ranks and rates cost more of what the model knew.
UPDATES, TOY_UPDATES = 60, 200
BATCH, TOY_BATCH = 8, 16
# Per GPU, so that the warmup covers several iterations.
FEWEST_ITERATIONS = 10
SMALL_PARAMETERS = 300_000_000
# The learning rate by number of parameters; with the loss that keeps (`core.config.keeping`), whose adapter is aimed at
# what it has to learn. Measured at 135 M and 0.5 B; the last are only extrapolated.
KEPT_RATES = ((SMALL_PARAMETERS, 7.5e-4), (1_000_000_000, 4e-4), (math.inf, 2e-4))
RATES = ((SMALL_PARAMETERS, 6e-4), (math.inf, 2e-4))
RANK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """`iterations` counts all GPUs together, `each` is per epoch on one GPU; `accumulate` iterations make an update."""

    batch: int
    accumulate: int
    epochs: int
    iterations: int
    each: int
    updates: int
    rate: float
    rank: int

    @classmethod
    def of(cls, model: Model, rows: int, *, kept: bool, cards: int, fit: Fit | None) -> Self:
        """Return the pace for a dataset of `rows` rows on `cards` GPUs; `fit` limits the batch by memory."""
        toy, cards = model.toy, max(1, cards)
        batch = TOY_BATCH if toy else min(BATCH, fit.batch_size) if fit else BATCH
        accumulate = per_update = 1
        if kept and not toy and 2 * rows > BATCH * UPDATES:
            # Every row twice, in as many updates as intended.
            together = math.ceil(2 * rows / UPDATES)
            # As few iterations as memory allows: on a GPU most of an iteration's time is not arithmetic.
            accumulate = math.ceil(together / (fit.batch_size if fit else batch) / cards)
            per_update = accumulate * cards
            batch = math.ceil(together / per_update)
        per_epoch = math.ceil(rows / batch)
        # Each GPU takes its share of the rows.
        each = math.ceil(math.ceil(rows / cards) / batch)
        wanted = round(TOY_UPDATES / per_epoch) if toy else UPDATES * per_update // per_epoch
        epochs = max(1, wanted, math.ceil(FEWEST_ITERATIONS / each))
        rates = KEPT_RATES if kept else RATES
        return cls(
            batch=batch,
            accumulate=accumulate,
            epochs=epochs,
            iterations=per_epoch * epochs,
            each=each,
            updates=math.ceil(per_epoch * epochs / per_update),
            rate=2e-3 if toy else next(rate for most, rate in rates if model.parameters < most),
            rank=RANK if kept or model.parameters < SMALL_PARAMETERS else RANK // 2,
        )

    def every(self, times: int) -> int:
        """Return the interval in iterations for something done `times` times: complete updates, at least one."""
        return self.accumulate * max(1, math.ceil(self.iterations / times / self.accumulate))
