"""How to train a model on this machine's GPU: method, precision, attention, batch size, checkpointing.

Chooses the fastest option that fits into memory, by the formula in `memory`.
"""

from dataclasses import dataclass
from typing import Any

from core.config.memory import memory
from core.data.dataset import Dataset
from core.engine import measure
from core.ground.errors import WorkFailed
from core.ground.figures import size_of_mb
from core.ground.text import Text
from core.ground.workspace import Workspace
from core.models.model import Model
from core.models.shape import Shape, knows_sdpa, shape

# The usable share of free memory: the rest is for what the formula does not include.
ROOM = 0.88
# From this length on, use an attention whose memory does not grow quadratically.
LONG = 512
BATCHES = (16, 8, 4, 2, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How to train, with the reason. `half` is `float16` or `bfloat16`; `sdpa` whether to request that attention."""

    method: str
    half: str
    batch_size: int
    checkpointing: bool
    sdpa: bool
    why: Text


def fit(
    shape: Shape | None,
    machine: dict[str, Any],
    *,
    longest: int,
    rank: int,
    sdpa: bool,
) -> Fit:
    """Return the fastest option that fits into the free memory of `machine` (`measure.machine`), for `longest` tokens.

    From the fastest: LoRA, QLoRA, QLoRA with activation checkpointing; each with the largest batch first. If nothing
    fits, or the model's shape is unknown, the smallest.
    """
    half = "bfloat16" if machine.get("bf16") else "float16"
    use_sdpa = sdpa and longest >= LONG
    free = machine.get("free_mb") or 0
    ways = [(method, checkpointing) for method, checkpointing in (("lora", False), ("qlora", False), ("qlora", True))]
    for method, checkpointing in ways:
        for batch in BATCHES if shape else ():
            facts = _facts(method, half, batch, checkpointing, use_sdpa, longest, rank)
            needed = memory(shape, facts, cuda=True).total_mb
            # A small batch with LoRA is slower than a large one with QLoRA.
            if needed <= ROOM * free and (batch >= BATCHES[0] // 2 or (method, checkpointing) == ways[-1]):
                why = Text(
                    f"约需 {size_of_mb(needed)}，空闲 {size_of_mb(free)}",
                    f"needs about {size_of_mb(needed)}, {size_of_mb(free)} free",
                )
                return Fit(
                    method=method, half=half, batch_size=batch, checkpointing=checkpointing, sdpa=use_sdpa, why=why
                )
    why = Text("显存很少，取最省的设置", "memory is short: the settings that need least")
    return Fit(method="qlora", half=half, batch_size=1, checkpointing=True, sdpa=use_sdpa, why=why)


def fit_here(workspace: Workspace, model: Model, dataset: Dataset, rank: int) -> Fit | None:
    """Return the fit of a model and a dataset to this machine's GPU; None if it cannot be measured."""
    try:
        machine = measure.machine(workspace)
    except WorkFailed:
        return None
    # A token has at least about one character; the template adds some.
    rows = [row["conversation"] for row in dataset.each()]
    longest = max(sum(len(turn["input"]) + len(turn["output"]) + 24 for turn in turns) for turns in rows)
    return fit(shape(model.path), machine, longest=min(longest, LONG), rank=rank, sdpa=knows_sdpa(model.path))


def _facts(
    method: str, half: str, batch: int, checkpointing: bool, sdpa: bool, longest: int, rank: int
) -> dict[str, Any]:
    """Return these settings in the form of `config_facts`."""
    llm = {"torch_dtype": {"$name": f"torch.{half}"}, "attn_implementation": "sdpa" if sdpa else None}
    if method == "qlora":
        llm["quantization_config"] = {"load_in_4bit": True}
    return {
        "batch_size": batch,
        "data": {"longest": longest},
        "wrapper": "AmpOptimWrapper",
        "optimizer": {"type": "AdamW"},
        "model": {
            "llm": llm,
            "lora": {"r": rank, "lora_dropout": 0.05},
            "use_activation_checkpointing": checkpointing,
        },
    }
