"""A batch of fixed shape: it reads its prompts, then writes a token per row and step, on a GPU by replaying graphs.

Part of the chat worker; `decoding` creates batches and keeps them. A step is either the model's own code over our cache
or, if it fits the model, `fused_step`. Neither waits for the GPU.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from core.engine.workers.fused_step import Step
from core.engine.workers.row_cache import RowCache

# Longer prompts are not captured: they take the GPU longer than the host.
MOST_CAPTURED = 512


class Batch:
    """A batch of fixed shape: its cache, its input tokens, and one step, captured as a graph on a GPU."""

    def __init__(self, decoder: Any, adapters: "list[str | None]", length: int) -> None:
        """`decoder`: the `Decoder` that keeps it."""
        self.decoder, self.adapters, self.length = decoder, adapters, length
        self.cache, rows, device = RowCache(length), len(adapters), decoder.device
        self.tokens = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.positions = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.logits: torch.Tensor | None = None
        self.ahead = torch.arange(length, device=device)
        self.graph: Any = None
        self.kept: list[Any] = []
        # The captured reading of prompts by their width, with its inputs; and the widths that there have been.
        self.prompts: dict[int, tuple[torch.Tensor, torch.Tensor, Any]] = {}
        self.widths: set[int] = set()
        self.fused: Step | None = None
        if decoder.fused is not None:
            with contextlib.suppress(ValueError):
                self.fused = Step(decoder.fused, decoder.adapters, adapters, self.cache)

    def read(self, rows: "list[list[int]]") -> None:
        """Run the right-padded prompts.

        `logits` are then those of the first answer token, `tokens` the most likely ones.
        """
        longest = max(map(len, rows))
        # Few widths, so that each is captured once: at its second use, as only a step's time is spent then.
        width = min(self.length, 1 << (longest - 1).bit_length()) if self.graph is not None else longest
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=self.tokens.device)
        last = torch.tensor([len(row) - 1 for row in rows], device=self.tokens.device)
        if self.fused is None:
            for part in (*self.cache.keys.values(), *self.cache.values.values()):
                # Stale values, even infinities, must not be multiplied by a zero weight.
                part.zero_()
        if self.graph is not None and width <= MOST_CAPTURED:
            if width not in self.prompts and width in self.widths:
                try:
                    self.prompts[width] = ids, last, self._captured(lambda: self._read(ids, last))
                except Exception:
                    # Out of memory, or code that cannot be captured: it is read as it was the first time.
                    self.prompts[width] = ids, last, None
            self.widths.add(width)
            held, end, graph = self.prompts.get(width, (ids, last, None))
            if graph is not None:
                held.copy_(ids)
                end.copy_(last)
                graph.replay()
                return
        self._read(ids, last)

    def _read(self, ids: torch.Tensor, last: torch.Tensor) -> None:
        decoder, width = self.decoder, ids.shape[1]
        self.cache.place = None
        at = torch.arange(width, device=decoder.device)
        mask = torch.where(at <= at[:, None], 0.0, decoder.least).to(decoder.dtype)[None, None]
        decoder.adapters.layout.set(self.adapters)
        hidden = decoder.forward(ids, at.expand(len(ids), -1), mask, self.cache)
        self._take(hidden[torch.arange(len(ids), device=decoder.device), last][:, None])
        self.positions.copy_((last + 1)[:, None])

    def step(self, furthest: int) -> None:
        """Run `tokens` of all rows, at most at position `furthest`; then `logits` and `tokens` are the next ones."""
        if self.graph is not None:
            self.graph.replay()
            return
        self.decoder.adapters.layout.set(self.adapters)
        self._run(furthest + 1)

    def _run(self, seen: int) -> None:
        if self.fused is not None:
            self._choose(self.fused.run(self.tokens, self.positions, self.decoder.angles.table))
            self.positions.add_(1)
            return
        self.cache.seen = seen
        self.cache.place = self.positions[:, :, None, None]
        mask = torch.where(self.ahead[:seen] <= self.cache.place, 0.0, self.decoder.least).to(self.decoder.dtype)
        self._take(self.decoder.forward(self.tokens, self.positions, mask, self.cache))
        self.positions.add_(1)

    def _take(self, hidden: torch.Tensor) -> None:
        self._choose(self.decoder.head(hidden)[:, 0].float())

    def _choose(self, logits: torch.Tensor) -> None:
        if self.logits is None:
            self.logits = torch.zeros_like(logits)
        self.logits.copy_(logits)
        self.tokens.copy_(logits.argmax(-1, keepdim=True))

    def tell(self) -> "Callable[[], list[int]]":
        """Begin to copy the tokens of all rows to the host; return what waits for them."""
        if self.tokens.device.type != "cuda":
            tokens = self.tokens[:, 0].tolist()
            return lambda: tokens
        copy = torch.empty(len(self.tokens), dtype=torch.long, pin_memory=True)
        copy.copy_(self.tokens[:, 0], non_blocking=True)
        there = torch.cuda.Event()
        there.record()

        def waited() -> "list[int]":
            there.synchronize()
            return copy.tolist()

        return waited

    def capture(self) -> None:
        """Record a step as a CUDA graph; the values computed meanwhile are meaningless. Raises what CUDA raises."""
        self.read([[0]] * len(self.adapters))
        self.decoder.adapters.layout.set(self.adapters)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._run(self.length)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = self._captured(lambda: self._run(self.length))

    def _captured(self, work: "Callable[[], None]") -> Any:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.decoder.pool):
            work()
        # Graphs refer to these tables, even after longer ones have replaced them.
        self.kept.append((self.decoder.angles.table, self.decoder.ahead))
        return graph
