"""Fast token generation with a causal model: batches of rows of different lengths, with a preallocated cache.

Part of the chat worker. Runs the model's own code (`trust_remote_code` or transformers') and replaces three things
below it: the cache, the attention mask, and the rotary angles, which are looked up instead of computed in every layer.
None of them synchronizes with the GPU, so a step can be captured as a CUDA graph; on a CPU the same step runs directly.
At load time it is compared with the model's plain forward pass: if they differ, or the model's structure is not
supported, `usable` is False and the caller uses a `padded` batch or goes row by row.
"""

import random
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from core.engine.workers.row_adapters import RowAdapters
from core.engine.workers.row_cache import Angles, RowCache

# Cache lengths are multiples of this, so that graphs can be reused.
BUCKET = 256
# Token capacity of all cached batches; the least recently used batch is evicted first.
MOST_ROOM = 40 * 512
# Maximum difference between the logits of both methods, relative to their standard deviation. Rounding alone: the plain
# pass in float32 is 5e-4 from itself in float64 (SmolLM2, whose activations are large), and 1.7e-3 from ours. A wrong
# position exceeds this by far.
_APART = {torch.float32: 1e-2, torch.float16: 3e-2, torch.bfloat16: 2e-1}
# Tokens for the comparison; every model has them.
PROBE = [1, 5, 9, 3, 7, 11, 6, 4]


@dataclass(frozen=True)
class Row:
    """A prompt in tokens, and the adapter to answer it with (None: the base model)."""

    ids: "list[int]"
    adapter: "str | None" = None


@dataclass(frozen=True)
class Draw:
    """Sampling settings; temperature 0 takes the most likely token. Equal seeds draw alike in every row."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


class Batch:
    """A batch of fixed shape: its cache, its input tokens, and one step, captured as a graph on a GPU."""

    def __init__(self, decoder: "Decoder", adapters: "list[str | None]", length: int) -> None:
        self.decoder, self.adapters, self.length = decoder, adapters, length
        self.cache, rows, device = RowCache(length), len(adapters), decoder.device
        self.tokens = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.positions = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.logits: torch.Tensor | None = None
        self.ahead = torch.arange(length, device=device)
        self.graph: Any = None
        self.kept: Any = None

    def read(self, rows: "list[list[int]]") -> None:
        """Run the right-padded prompts.

        `logits` are then those of the first answer token, `tokens` the most likely ones.
        """
        decoder, longest = self.decoder, max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=decoder.device)
        last = torch.tensor([len(row) - 1 for row in rows], device=decoder.device)
        for part in (*self.cache.keys.values(), *self.cache.values.values()):
            # Stale values, even infinities, must not be multiplied by a zero weight.
            part.zero_()
        self.cache.place = None
        at = torch.arange(longest, device=decoder.device)
        mask = torch.where(at <= at[:, None], 0.0, decoder.least).to(decoder.dtype)[None, None]
        decoder.adapters.layout.set(self.adapters)
        hidden = decoder.forward(ids, at.expand(len(rows), -1), mask, self.cache)
        self._take(hidden[torch.arange(len(rows), device=decoder.device), last][:, None])
        self.positions.copy_((last + 1)[:, None])

    def step(self, furthest: int) -> None:
        """Run `tokens` of all rows, at most at position `furthest`; then `logits` and `tokens` are the next ones."""
        if self.graph is not None:
            self.graph.replay()
            return
        self.decoder.adapters.layout.set(self.adapters)
        self._run(furthest + 1)

    def _run(self, seen: int) -> None:
        self.cache.seen = seen
        self.cache.place = self.positions[:, :, None, None]
        mask = torch.where(self.ahead[:seen] <= self.cache.place, 0.0, self.decoder.least).to(self.decoder.dtype)
        self._take(self.decoder.forward(self.tokens, self.positions, mask, self.cache))
        self.positions.add_(1)

    def _take(self, hidden: torch.Tensor) -> None:
        logits = self.decoder.head(hidden)[:, 0].float()
        if self.logits is None:
            self.logits = torch.zeros_like(logits)
        self.logits.copy_(logits)
        self.tokens.copy_(logits.argmax(-1, keepdim=True))

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
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.decoder.pool):
            self._run(self.length)
        self.graph = graph
        # The graph refers to this table, even after a longer one has replaced it.
        self.kept = self.decoder.angles.table


class Decoder:
    """A model that answers batches; if `usable` is False another method is needed, and `why` gives the reason."""

    def __init__(self, model: Any, *, graphs: "bool | None" = None) -> None:
        """`graphs`: capture steps as CUDA graphs; by default if there is a GPU."""
        self.model, self.device, self.dtype = model, model.device, model.dtype
        self.least = torch.finfo(self.dtype).min
        self.graphs = self.device.type == "cuda" if graphs is None else graphs
        self.pool = torch.cuda.graph_pool_handle() if self.graphs else None
        self.adapters = RowAdapters(model)
        self.batches: OrderedDict[Any, Batch] = OrderedDict()
        self.usable, self.why = False, ""
        # Whether a padded batch gives correct results if this method is not usable: set by the worker.
        self.pads = False
        if getattr(model.config, "pretraining_tp", 1) != 1:
            # With it, weight slices are multiplied without calling the layer; the result is the same.
            model.config.pretraining_tp = 1
        try:
            plain = self.plain_logits()
            self._put_under()
            self.usable = True
            self._compare(plain)
        except Exception as error:
            self.usable, self.why = False, f"{type(error).__name__}: {error}"

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits of hidden states."""
        return self.model.get_output_embeddings()(hidden)

    def forward(self, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, cache: RowCache) -> torch.Tensor:
        """Return the hidden states of tokens (rows, tokens) at positions, under an additive attention mask."""
        self.angles.look_up(positions)
        try:
            return self.inner(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                cache_position=self.ahead[: ids.shape[1]],
                # The layers write into the given cache anyway; with True, transformers 4.39 would copy it.
                use_cache=False,
                return_dict=True,
            )[0]
        finally:
            self.angles.now = None

    def fits(self, length: int) -> bool:
        """Return whether prompts and answers of this many tokens can be generated by this method."""
        return self.usable and _bucket(length) <= self.angles.most

    @torch.inference_mode()
    def write(self, rows: "list[Row]", most: int, draw: Draw) -> "Iterator[list[int]]":
        """Yield the tokens of all rows step by step, at most `most` times; the caller stops when it has enough.

        Rows may come in any order and length. Tokens of a row that has ended are meaningless.
        """
        order = sorted(range(len(rows)), key=lambda n: rows[n].adapter or "")
        back = [order.index(n) for n in range(len(rows))]
        ordered = [rows[n] for n in order]
        longest = max(len(row.ids) for row in rows)
        batch = self.batch([row.adapter for row in ordered], _bucket(longest + most))
        batch.read([row.ids for row in ordered])
        chance = random.Random(draw.seed)
        for step in range(most):
            if draw.temperature > 0:
                batch.tokens.copy_(sampled(batch.logits, draw, chance.random()))
            tokens = batch.tokens[:, 0].tolist()
            yield [tokens[place] for place in back]
            if step + 1 < most:
                batch.step(longest + step)

    def batch(self, adapters: "list[str | None]", length: int) -> Batch:
        """Return a batch of this shape, created and captured on first use."""
        key = (tuple(adapters), length)
        if key not in self.batches:
            room = len(adapters) * length
            while self.batches and room + sum(len(names) * size for names, size in self.batches) > MOST_ROOM:
                self.batches.popitem(last=False)
            batch = Batch(self, adapters, length)
            self.angles.fill(length, self.model.get_input_embeddings().weight[:1, None])
            if length > len(self.ahead):
                self.ahead = torch.arange(length, device=self.device)
            if self.graphs:
                try:
                    batch.capture()
                except Exception as error:
                    # Slower without a graph, but just as correct.
                    print(f"No CUDA graph: {type(error).__name__}: {error}", flush=True)
                    self.graphs = False
                    batch = Batch(self, adapters, length)
            self.batches[key] = batch
        self.batches.move_to_end(key)
        return self.batches[key]

    def forget(self, adapter: str) -> None:
        """Remove an adapter, and the batches that use it."""
        self.batches = OrderedDict((key, batch) for key, batch in self.batches.items() if adapter not in key[0])
        self.adapters.remove(adapter)

    def _put_under(self) -> None:
        """Install our cache's mask and angles in the model's own code."""
        inner = next((m for m in self.model.modules() if hasattr(m, "_update_causal_mask")), None)
        if inner is None:
            raise ValueError("it does not accept an attention mask")
        self.inner = inner
        theirs = self.inner._update_causal_mask
        self.angles = Angles(self.model)
        self.ahead = torch.arange(BUCKET, device=self.device)

        def mask(attention_mask: Any, *arguments: Any, **options: Any) -> Any:
            ours = self.angles.now is not None
            return attention_mask if ours else theirs(attention_mask, *arguments, **options)

        self.inner._update_causal_mask = mask

    @torch.inference_mode()
    def plain_logits(self) -> torch.Tensor:
        """Return the logits after PROBE, by the model's plain forward pass."""
        return self.model(input_ids=torch.tensor([PROBE], device=self.device), use_cache=False).logits[0, -1].float()

    @torch.inference_mode()
    def _compare(self, plain: torch.Tensor) -> None:
        """Raise ValueError if our method gives different logits for the same tokens."""
        batch = Batch(self, [None, None], BUCKET)
        self.angles.fill(BUCKET, self.model.get_input_embeddings().weight[:1, None])
        # Rows of different lengths, to test both their mask and their positions.
        batch.read([PROBE[:-2], PROBE[:-4]])
        for step in range(4):
            at = [len(PROBE) - 2 + step, len(PROBE) - 4 + step]
            batch.tokens.copy_(torch.tensor([[PROBE[n] if n < len(PROBE) else 0] for n in at], device=self.device))
            batch.step(max(at))
            for row, place in enumerate(at):
                if place == len(PROBE) - 1:
                    compare(batch.logits[row], plain, self.dtype)


def compare(logits: torch.Tensor, plain: torch.Tensor, dtype: torch.dtype) -> None:
    """Raise ValueError if logits differ from the plain forward pass by more than the rounding of `dtype`."""
    apart = float((logits - plain).abs().max() / plain.std())
    if not apart <= _APART.get(dtype, 0.2):
        raise ValueError(f"its logits differ by {apart:.2g} of their spread")


def sampled(logits: torch.Tensor, draw: Draw, chance: float) -> torch.Tensor:
    """Sample tokens (rows, 1) from the top-p set at `chance`, 0 to 1: inverse transform, the same draw in every row."""
    parts, tokens = torch.softmax(logits / draw.temperature, -1).sort(-1, descending=True)
    upto = parts.cumsum(-1)
    parts = torch.where(upto - parts < draw.top_p, parts, 0.0)
    upto = parts.cumsum(-1)
    place = (upto < chance * upto[:, -1:]).sum(-1, keepdim=True).clamp_(max=logits.shape[-1] - 1)
    return tokens.gather(-1, place)


def _bucket(length: int) -> int:
    return -(-length // BUCKET) * BUCKET
