"""Writes tokens with a causal model, fast: one batch whose rows have lengths of their own, a cache laid out once.

A part of the chat worker. Runs the model's own code (`trust_remote_code` or transformers'), and puts three things of
its own under it: the cache, the attention mask, and the rotary angles, looked up instead of computed in every layer.
None of them waits for the GPU, so a step is captured as a CUDA graph; on a CPU the same step runs as it is. At the
start it is compared with the model's plain forward pass: where they differ, or the model is of another make, `usable`
is False and the caller asks it as a `padded` batch or row by row.
"""

import random
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from core.engine.workers.row_adapters import RowAdapters
from core.engine.workers.row_cache import Angles, RowCache

# Lengths of a cache are multiples of this, so that graphs are used again.
BUCKET = 256
# Tokens that the caches of the batches kept ready have room for; the batch unused the longest goes first.
MOST_ROOM = 40 * 512
# How far the logits of both ways may be apart, as a part of their spread. Rounding alone: the plain pass in float32 is
# 5e-4 from itself in float64 (SmolLM2, whose activations are large), and 1.7e-3 from ours. A wrong place is far above.
_APART = {torch.float32: 1e-2, torch.float16: 3e-2, torch.bfloat16: 2e-1}
# What a model is tried with: any tokens that each has.
PROBE = [1, 5, 9, 3, 7, 11, 6, 4]


@dataclass(frozen=True)
class Row:
    """One prompt in tokens, and the adapter that answers it (None: the base)."""

    ids: "list[int]"
    adapter: "str | None" = None


@dataclass(frozen=True)
class Draw:
    """How the next token is drawn; temperature 0 takes the likeliest. Equal seeds draw alike in every row."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


class Batch:
    """A batch of fixed shape: its cache, the tokens to go in, and one step, captured as a graph where there is a GPU."""

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
        """Run the prompts; `logits` then hold what comes first, `tokens` the likeliest. Shorter ones are filled up behind."""
        decoder, longest = self.decoder, max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=decoder.device)
        last = torch.tensor([len(row) - 1 for row in rows], device=decoder.device)
        for part in (*self.cache.keys.values(), *self.cache.values.values()):
            # Whatever was there, infinity included, must not be multiplied by a weight of zero.
            part.zero_()
        self.cache.place = None
        at = torch.arange(longest, device=decoder.device)
        mask = torch.where(at <= at[:, None], 0.0, decoder.least).to(decoder.dtype)[None, None]
        decoder.adapters.layout.set(self.adapters)
        hidden = decoder.forward(ids, at.expand(len(rows), -1), mask, self.cache)
        self._take(hidden[torch.arange(len(rows), device=decoder.device), last][:, None])
        self.positions.copy_((last + 1)[:, None])

    def step(self, furthest: int) -> None:
        """Run `tokens` of all rows, at most at position `furthest`; `logits` and `tokens` are the next ones."""
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
        """Record a step as a CUDA graph; what it computes on the way is of no meaning. Raises what CUDA raises."""
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
        # The graph reads these where they are, also once longer ones have taken their place.
        self.kept = self.decoder.angles.table


class Decoder:
    """A model that answers batches; `usable` is False where it has to be asked otherwise, and `why` says why."""

    def __init__(self, model: Any, *, graphs: "bool | None" = None) -> None:
        """`graphs`: capture steps as CUDA graphs; where there is a GPU if not said."""
        self.model, self.device, self.dtype = model, model.device, model.dtype
        self.least = torch.finfo(self.dtype).min
        self.graphs = self.device.type == "cuda" if graphs is None else graphs
        self.pool = torch.cuda.graph_pool_handle() if self.graphs else None
        self.adapters = RowAdapters(model)
        self.batches: OrderedDict[Any, Batch] = OrderedDict()
        self.usable, self.why = False, ""
        # Whether it bears a padded batch where it is not usable: the worker finds out.
        self.pads = False
        if getattr(model.config, "pretraining_tp", 1) != 1:
            # Slices of weights are multiplied there without calling the layer; it computes the same.
            model.config.pretraining_tp = 1
        try:
            plain = self.plain_logits()
            self._put_under()
            self.usable = True
            self._compare(plain)
        except Exception as error:
            self.usable, self.why = False, f"{type(error).__name__}: {error}"

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of hidden states."""
        return self.model.get_output_embeddings()(hidden)

    def forward(self, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, cache: RowCache) -> torch.Tensor:
        """Hidden states of tokens (rows, tokens) at positions, under a mask that is added to the attention's scores."""
        self.angles.look_up(positions)
        try:
            return self.inner(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                cache_position=self.ahead[: ids.shape[1]],
                # The layers write into the cache that is given all the same; asked to keep one, transformers 4.39 copies it.
                use_cache=False,
                return_dict=True,
            )[0]
        finally:
            self.angles.now = None

    def fits(self, length: int) -> bool:
        """Whether prompts and answers of so many tokens can be had this way."""
        return self.usable and _bucket(length) <= self.angles.most

    @torch.inference_mode()
    def write(self, rows: "list[Row]", most: int, draw: Draw) -> "Iterator[list[int]]":
        """The tokens of all rows, one step after the other, at most `most`; the caller stops when it has enough.

        Rows come in any order and lengths. Tokens of a row that has ended go on and mean nothing.
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
        """A batch of this shape, made and captured at its first use."""
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
                    # Without a graph it is slower and as right.
                    print(f"No CUDA graph: {type(error).__name__}: {error}", flush=True)
                    self.graphs = False
                    batch = Batch(self, adapters, length)
            self.batches[key] = batch
        self.batches.move_to_end(key)
        return self.batches[key]

    def forget(self, adapter: str) -> None:
        """Take an adapter off, and the batches that use it."""
        self.batches = OrderedDict((key, batch) for key, batch in self.batches.items() if adapter not in key[0])
        self.adapters.remove(adapter)

    def _put_under(self) -> None:
        """Put our cache's mask and angles under the model's own code."""
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
        """Of the last of a few tokens, by the model's plain forward pass."""
        return self.model(input_ids=torch.tensor([PROBE], device=self.device), use_cache=False).logits[0, -1].float()

    @torch.inference_mode()
    def _compare(self, plain: torch.Tensor) -> None:
        """Raise ValueError where our way gives other logits for the same tokens."""
        batch = Batch(self, [None, None], BUCKET)
        self.angles.fill(BUCKET, self.model.get_input_embeddings().weight[:1, None])
        # Rows of unlike lengths, so that both their mask and their places are tried.
        batch.read([PROBE[:-2], PROBE[:-4]])
        for step in range(4):
            at = [len(PROBE) - 2 + step, len(PROBE) - 4 + step]
            batch.tokens.copy_(torch.tensor([[PROBE[n] if n < len(PROBE) else 0] for n in at], device=self.device))
            batch.step(max(at))
            for row, place in enumerate(at):
                if place == len(PROBE) - 1:
                    compare(batch.logits[row], plain, self.dtype)


def compare(logits: torch.Tensor, plain: torch.Tensor, dtype: torch.dtype) -> None:
    """Raise ValueError where logits are further from those of the plain forward pass than `dtype` rounds."""
    apart = float((logits - plain).abs().max() / plain.std())
    if not apart <= _APART.get(dtype, 0.2):
        raise ValueError(f"its logits differ by {apart:.2g} of their spread")


def sampled(logits: torch.Tensor, draw: Draw, chance: float) -> torch.Tensor:
    """The token at `chance`, from 0 to 1, of the likeliest ones that make up `top_p`: (rows, 1). The same in every row."""
    parts, tokens = torch.softmax(logits / draw.temperature, -1).sort(-1, descending=True)
    upto = parts.cumsum(-1)
    parts = torch.where(upto - parts < draw.top_p, parts, 0.0)
    upto = parts.cumsum(-1)
    place = (upto < chance * upto[:, -1:]).sum(-1, keepdim=True).clamp_(max=logits.shape[-1] - 1)
    return tokens.gather(-1, place)


def _bucket(length: int) -> int:
    return -(-length // BUCKET) * BUCKET
