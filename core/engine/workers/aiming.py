"""Aims the adapter of a new run, between the building of its model and that of its optimizer, which copies the weights.

Part of `entry`, in the engine's interpreter. How is in `adapter_inputs`. A stays random when a run resumes or continues
an adapter, for packed rows of variable length, where the model does not fit yet, and under ZeRO-3, where each process
holds a part of the weights.
"""

from collections.abc import Sequence
from typing import Any

import torch

from core.engine.workers import phases
from core.engine.workers.adapter_inputs import ROOM, look_apart, untrained


def look_before_training() -> None:
    """Make XTuner aim the adapter of a new run, before its optimizer copies the weights."""
    from mmengine.device import get_device
    from mmengine.runner import FlexibleRunner, Runner
    from xtuner.model import sft
    from xtuner.parallel.sequence import get_sequence_parallel_world_size

    running: list[Any] = []
    usual = sft.SupervisedFinetune.init_weights

    def init_weights(self: Any) -> None:
        usual(self)
        if not self.use_lora or not running or running[-1]._resume or get_sequence_parallel_world_size() > 1:
            return
        rows = running[-1].train_dataloader.dataset
        if suits(self.llm, rows) and fits(self.llm, get_device()):
            # DeepSpeed would move the model there only later.
            self.to(get_device())
            try:
                counts = look_apart(self.llm, rows)
            except torch.cuda.OutOfMemoryError:
                torch.cuda.empty_cache()
                counts = None
            phases.reach("aimed")
            # mmengine gives the other processes what the first one has found.
            if counts:
                taught, kept = counts
                running[-1].logger.info(f"The adapter is aimed at {taught} tokens to be taught, past {kept} to be kept")
                return
        running[-1].logger.info("The adapter begins at random")

    sft.SupervisedFinetune.init_weights = init_weights
    for runner_class in (Runner, FlexibleRunner):

        def train(self: Any, _train: Any = runner_class.train) -> Any:
            running.append(self)
            return _train(self)

        runner_class.train = train


def suits(llm: Any, rows: "Sequence[dict[str, Any]]") -> bool:
    """Return whether the adapter changes nothing yet, and the rows stand apart."""
    return untrained(llm) and "cumulative_len" not in rows[0]


def fits(llm: Any, device: str) -> bool:
    """Return whether the weights that are not on the GPU yet fit on it, with what is measured.

    DeepSpeed gets the model in single precision on the CPU, and halves it before it moves it.
    """
    if device != "cuda":
        return True
    elsewhere = sum(weight.nbytes for weight in llm.parameters() if weight.device.type != "cuda")
    return elsewhere == 0 or elsewhere + 2 * ROOM < torch.cuda.mem_get_info()[0]
