"""What to train a model with on the GPU that is here: method, precision, attention, batch size, checkpointing.

The fastest of some ways that leaves room, by the formula of `memory`.
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

# Of the free memory: the rest is for what the formula does not see.
ROOM = 0.88
# A longer sequence is worth an attention whose memory does not grow with its square.
LONG = 512
BATCHES = (16, 8, 4, 2, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How to train, and why in words. `half` is `float16` or `bfloat16`; `sdpa` whether to ask for that attention."""

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
    """The fastest way that fits into the free memory of `machine` (`measure.machine`), for rows of `longest` tokens.

    From the fastest: a plain adapter, one on 4-bit weights, that with activation checkpointing; each with the largest
    batch first. Where nothing fits, or the model's shape is not known, the smallest.
    """
    half = "bfloat16" if machine.get("bf16") else "float16"
    use_sdpa = sdpa and longest >= LONG
    free = machine.get("free_mb") or 0
    ways = [(method, checkpointing) for method, checkpointing in (("lora", False), ("qlora", False), ("qlora", True))]
    for method, checkpointing in ways:
        for batch in BATCHES if shape else ():
            facts = _facts(method, half, batch, checkpointing, use_sdpa, longest, rank)
            needed = memory(shape, facts, cuda=True).total_mb
            # A small batch on a plain adapter is slower than a large one on 4-bit weights.
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
    """The fit of a model and a dataset of the workspace to the GPU that is here; None where it cannot be asked."""
    try:
        machine = measure.machine(workspace)
    except WorkFailed:
        return None
    # A token is a character at most, nearly; the template adds some.
    rows = [row["conversation"] for row in dataset.each()]
    longest = max(sum(len(turn["input"]) + len(turn["output"]) + 24 for turn in turns) for turns in rows)
    return fit(shape(model.path), machine, longest=min(longest, LONG), rank=rank, sdpa=knows_sdpa(model.path))


def _facts(
    method: str, half: str, batch: int, checkpointing: bool, sdpa: bool, longest: int, rank: int
) -> dict[str, Any]:
    """These settings as `config_facts` would tell them."""
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
