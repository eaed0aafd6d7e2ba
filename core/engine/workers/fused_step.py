"""One step of a batch with a kernel per product: what `batch` captures as a graph on a GPU, if the model allows.

Part of the chat worker. The model is recognized by `fused_model`, the kernels are in `fused_kernels`, the cache is
`row_cache`'s. For a few rows a GPU's limit is how fast it reads the weights: here each is read once per token, and five
kernels run a block where the model's own code starts fifty. `decoding` compares the result with the model's plain forward
pass and goes without if it differs.
"""

from dataclasses import dataclass
from typing import Any

import torch

from core.engine.workers.fused_model import Fused, Product, products
from core.engine.workers.row_adapters import RowAdapters
from core.engine.workers.row_cache import RowCache

# What the tensor cores take at once; more rows are left to the model's own code.
MOST_ROWS = 16
# Positions of the cache for each program of the attention.
SPLIT = 256


class Step:
    """The buffers of a batch, and the kernels of a step in order; `run` starts them and never waits."""

    def __init__(self, fused: Fused, adapters: RowAdapters, names: "list[str | None]", cache: RowCache) -> None:
        """Raises ValueError if the batch has too many rows or an adapter on another layer."""
        from core.engine.workers import fused_kernels

        used = sorted({name for name in names if name is not None})
        changed = {path for path, layer in adapters.layers.items() if any(name in layer.pairs for name in used)}
        if len(names) > MOST_ROWS or not changed <= fused.paths:
            raise ValueError("too many rows, or an adapter on other layers")
        self.kernels, self.fused, self.cache, self.rows = fused_kernels, fused, cache, len(names)
        weight = fused.embeddings.weight
        device, self.kind = weight.device, getattr(_triton(), str(weight.dtype).partition(".")[2])
        self.which = torch.tensor([used.index(n) if n else -1 for n in names], dtype=torch.int32, device=device)
        self.rank = _rank(adapters, used)
        self.lows = torch.zeros(self.rows * self.rank * 3, dtype=torch.float32, device=device)
        self.pairs = {
            part.paths: _pairs(adapters, used, part, self.rank)
            for block in fused.blocks
            for part in products(block)
            if changed & set(part.paths)
        }
        if changed & set(fused.final.paths):
            self.pairs[fused.final.paths] = _pairs(adapters, used, fused.final, self.rank)
        block, heads = fused.blocks[0], self.rows * fused.queries
        self.qkv = weight.new_empty(self.rows, len(block.qkv.weight))
        self.seen = weight.new_empty(self.rows, fused.queries * fused.size)
        self.gated = weight.new_empty(self.rows, len(block.gate_up.weight) // 2)
        self.logits = torch.empty(self.rows, len(fused.final.weight), dtype=torch.float32, device=device)
        self.splits = -(-cache.length // SPLIT)
        self.parts = torch.empty(heads * self.splits * fused.size, dtype=torch.float32, device=device)
        self.tops = torch.empty(heads * self.splits, dtype=torch.float32, device=device)
        self.sums = torch.empty_like(self.tops)

    def run(
        self, tokens: torch.Tensor, positions: torch.Tensor, angles: "tuple[torch.Tensor, torch.Tensor]"
    ) -> torch.Tensor:
        """Run tokens (rows, 1) at positions (rows, 1); return the logits of the next, (rows, vocabulary)."""
        x = self.fused.embeddings(tokens)[:, 0]
        for number, block in enumerate(self.fused.blocks):
            self._linear(x, block.qkv, self.qkv, norm=block.norm)
            self._attend(number, positions, angles)
            self._linear(self.seen, block.out, x, add=True)
            self._linear(x, block.gate_up, self.gated, norm=block.next_norm, gated=True)
            self._linear(self.gated, block.down, x, add=True)
        self._linear(x, self.fused.final, self.logits, norm=self.fused.end)
        return self.logits

    def _linear(
        self,
        x: torch.Tensor,
        product: Product,
        out: torch.Tensor,
        *,
        norm: "torch.Tensor | None" = None,
        add: bool = False,
        gated: bool = False,
    ) -> None:
        width, outs = product.weight.shape[1], out.shape[1]
        pair, eps = self.pairs.get(product.paths), self.fused.eps
        lows = len(product.paths) * self.rank
        down, up = pair or (x, x)
        if pair is not None:
            self.kernels.shrink[(self.rows, lows // 4)](
                x, down, x if norm is None else norm, self.which, self.lows, eps,
                WIDTH=width, LOWS=lows, NORM=norm is not None, BJ=4, BK=min(1024, _up(width)), num_warps=4,
            )  # fmt: skip
        plan = tile(self.rows, outs, width, gated=gated, wide=x.dtype is torch.float32)
        starts = (*product.starts[1:], outs, outs)
        kernel = self.kernels.linear_of_rows if plan.cores else self.kernels.linear
        kernel[(-(-outs // plan.outs),)](
            x, product.weight, x if product.bias is None else product.bias, x if norm is None else norm,
            self.lows, up, self.which, out, eps, starts[0], starts[1],
            OUTS=outs, WIDTH=width, ROWS=self.rows, ROWS_UP=MOST_ROWS if plan.cores else _up(self.rows),
            RANK=self.rank if pair else 0, LOWS=lows, NORM=norm is not None, BIAS=product.bias is not None,
            GATED=gated, ADD=add, TO=self._to(out), BN=plan.outs, BK=min(plan.width, _up(width)),
            num_warps=plan.warps, num_stages=plan.stages,
        )  # fmt: skip

    def _attend(self, number: int, positions: torch.Tensor, angles: "tuple[torch.Tensor, torch.Tensor]") -> None:
        fused, size = self.fused, self.fused.size
        group = fused.queries // fused.keys
        if fused.grouped:
            steps = {"Q_STEP": (group + 2) * size, "K_START": group * size, "V_START": (group + 1) * size}
            steps["KV_STEP"] = (group + 2) * size
        else:
            steps = {"Q_STEP": group * size, "K_START": fused.queries * size, "KV_STEP": size}
            steps["V_START"] = (fused.queries + fused.keys) * size
        self.kernels.attend[(self.rows, fused.keys, self.splits)](
            self.qkv, *angles, positions, self.cache.keys[number], self.cache.values[number], self.seen,
            self.parts, self.tops, self.sums, fused.scale, self.cache.length,
            KV=fused.keys, GROUP=group, GROUP_UP=max(16, _up(group)), D=size, WIDTH=self.qkv.shape[1], **steps,
            SPLITS=self.splits, SPLIT=SPLIT, BN=32, num_warps=4,
        )  # fmt: skip
        if self.splits > 1:
            self.kernels.combine[(self.rows * fused.queries,)](
                self.parts, self.tops, self.sums, self.seen, D=size, SPLITS=self.splits, SPLITS_UP=_up(self.splits),
                num_warps=4,
            )  # fmt: skip

    def _to(self, out: torch.Tensor) -> Any:
        return _triton().float32 if out.dtype is torch.float32 else self.kind


@dataclass(frozen=True)
class Tile:
    """The part of a weight that a program holds at once, its warps, and how many parts it loads ahead."""

    outs: int
    width: int
    warps: int
    stages: int = 1
    # Whether the tensor cores multiply.
    cores: bool = False


def tile(rows: int, outs: int, width: int, *, gated: bool, wide: bool) -> Tile:
    """Return the fastest of those measured on an H100 that fit the shared memory of smaller GPUs (99 KB), too.

    Up to two rows are as fast without the tensor cores, except where many outputs share the vector.
    """
    if rows == 1:
        return Tile(2, 1024, 4) if gated else Tile(4, 1024, 4 if width > 4096 else 8)
    if rows == 2 and not gated and outs < 16384:
        return Tile(8, 256, 8) if outs > width else Tile(4, 1024, 8)
    if wide:
        return Tile(32, 64, 4, 2, cores=True)
    if gated:
        return Tile(64, 64, 4, 5, cores=True)
    if outs < 16384:
        return Tile(32, 256, 4, 3, cores=True) if outs > width else Tile(16, 256, 4, 5, cores=True)
    return Tile(64, 128, 4, 3, cores=True)


def _triton() -> Any:
    import triton.language

    return triton.language


def _up(number: int) -> int:
    """Return the power of two that is at least `number`."""
    return 1 << (number - 1).bit_length()


def _rank(adapters: RowAdapters, used: "list[str]") -> int:
    """Return the power of two that holds the ranks of all adapters used; 0 without any."""
    found = [layer.pairs[n][0].shape[1] for layer in adapters.layers.values() for n in used if n in layer.pairs]
    return max(16, _up(max(found))) if found else 0


def _pairs(
    adapters: RowAdapters, used: "list[str]", product: Product, rank: int
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return A (adapters, layers · rank, in) and B (adapters, outputs, rank) of a product, zero where there is none."""
    height, width = product.weight.shape
    down = product.weight.new_zeros(len(used), len(product.paths), rank, width)
    up = product.weight.new_zeros(len(used), height, rank)
    for place, path in enumerate(product.paths):
        pairs = adapters.layers[path].pairs if path in adapters.layers else {}
        for number, name in enumerate(used):
            if name in pairs:
                a, b = pairs[name]
                down[number, place, : a.shape[1]] = a.t()
                start = product.starts[place]
                up[number, start : start + b.shape[1], : a.shape[1]] = b.t()
    return down, up
