"""One copy of a model's weights, with a separate LoRA adapter for each row of a batch.

Part of the chat worker. The base product is computed once for all rows, an adapter's only for its own rows, which are
adjacent, so that nothing is gathered and a CUDA graph can capture it. PEFT's `adapter_names` does the same with index
lists, which a graph cannot capture, and with a wrapper's overhead on every layer.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from core.engine.workers.adapter import Adapter


@dataclass
class Layout:
    """The adapter of each row of the current batch: (first row, end row, name); no entry for the base model."""

    slices: "list[tuple[int, int, str]]" = field(default_factory=list)

    def set(self, names: "list[str | None]") -> None:
        """Set the adapters of a batch by row; equal ones must be adjacent."""
        self.slices.clear()
        start = 0
        for end in range(1, len(names) + 1):
            if end == len(names) or names[end] != names[start]:
                if names[start] is not None:
                    self.slices.append((start, end, names[start]))
                start = end


class RowLinear(nn.Module):
    """A linear layer that adds each row's own adapter: y = W x, and y += B (A x) for rows that have one."""

    def __init__(self, base: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.base, self.layout = base, layout
        # A and B, transposed, by adapter name; B is multiplied by the adapter's scale.
        self.pairs: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    @property
    def weight(self) -> torch.Tensor:
        """The base layer's weight: some models read it from their layers."""
        return self.base.weight

    @property
    def bias(self) -> "torch.Tensor | None":
        """The base layer's bias."""
        return self.base.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `x` of shape (rows, …, in) to (rows, …, out)."""
        y = self.base(x)
        for start, end, name in self.layout.slices:
            pair = self.pairs.get(name)
            if pair is not None:
                rows = x[start:end].reshape(-1, x.shape[-1])
                y[start:end].view(-1, y.shape[-1]).addmm_(rows @ pair[0], pair[1])
        return y


class RowAdapters:
    """The adapters of a model, added to its linear layers and removed again."""

    def __init__(self, model: Any) -> None:
        self.model, self.layout = model, Layout()
        self.names: list[str] = []
        self.layers: dict[str, RowLinear] = {}

    def add(self, name: str, adapter: Adapter) -> None:
        """Add an adapter. Raises ValueError if it is more than pairs of matrices, or the model lacks such a layer."""
        if adapter.special:
            raise ValueError(f"{adapter.special} is not computed row by row")
        modules = dict(self.model.named_modules())
        pairs = {weight.removesuffix(".weight"): pair for weight, pair in adapter.pairs.items()}
        for path, (a, b) in pairs.items():
            layer = self.layers.get(path, modules.get(path))
            if not isinstance(layer, nn.Linear | RowLinear):
                raise ValueError(f"the model has no linear layer {path}")
            if layer.weight.shape != (b.shape[0], a.shape[1]):
                raise ValueError(f"{path} is {tuple(layer.weight.shape)}, the adapter's {(b.shape[0], a.shape[1])}")
        for path, (a, b) in pairs.items():
            if path not in self.layers:
                holder, _, last = path.rpartition(".")
                self.layers[path] = RowLinear(modules[path], self.layout)
                setattr(modules[holder], last, self.layers[path])
            weight = self.layers[path].weight
            kind = {"device": weight.device, "dtype": weight.dtype}
            scaled = b.float() * adapter.scale(a)
            self.layers[path].pairs[name] = (a.t().contiguous().to(**kind), scaled.t().contiguous().to(**kind))
        self.names.append(name)

    def remove(self, name: str) -> None:
        """Remove an adapter."""
        self.names.remove(name)
        for layer in self.layers.values():
            layer.pairs.pop(name, None)
