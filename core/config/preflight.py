"""What a training will be, before it is one: counts from XTuner's own dataset code, time and memory estimated.

Counts (rows, packs, iterations, updates, evaluations, checkpoints) are exact for one process. Time comes from
earlier runs on this machine where there are any, else from its measured arithmetic; memory from a formula.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from core.config import config as configs
from core.config.config import Config
from core.data import dataset as datasets
from core.engine.measure import config_facts
from core.engine.model import Model
from core.ground.errors import StudioError
from core.ground.problem import Problem
from core.ground.text import Text
from core.ground.workspace import Workspace

# What importing XTuner and preparing the data takes before the first iteration, measured on 2 cores.
STARTING_SECONDS = 25.0
# The process without any model: torch, transformers, XTuner.
BASE_MEMORY_MB = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """The forecast. `packs` are the sequences that one epoch goes through; times in seconds, memory in MB."""

    rows: int = 0
    unique_rows: int = 0
    tokens: int = 0
    packs: int = 0
    iters: int = 0
    optimizer_updates: int = 0
    evaluations: int = 0
    checkpoints: int = 0
    estimated_seconds: float | None = None
    estimated_memory_mb: float | None = None
    problems: list[Problem] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        return {**values, "problems": [problem.to_json() for problem in self.problems]}


def preflight(workspace: Workspace, config: Config, measured: Sequence[dict[str, float]] = ()) -> Preflight:
    """Forecast the training of `config`. `measured` are earlier runs here: `parameters`, `tokens`, `seconds` per iteration."""
    problems = configs.check(workspace, config)
    if any(problem.severity == "error" for problem in problems):
        return Preflight(problems=problems)
    dataset, model = datasets.find(workspace, config.dataset), configs.model_of(workspace, config)
    try:
        facts = config_facts(workspace, config.file, dataset.sha256)
    except StudioError as error:
        hint = Text("改好配置里报错的地方", "mend what the message names in the config")
        return Preflight(problems=[Problem(severity="error", where="config.py", message=error.text, hint=hint)])
    per_epoch = math.ceil(facts["samples"] / facts["batch_size"])
    iters = int(facts["max_iters"] or per_epoch * facts["max_epochs"])
    updates = math.ceil(iters / facts["accumulative_counts"])
    saves = {n for n in range(1, iters + 1) if n % facts["save_steps"] == 0} | {iters}
    asked = facts["evaluation_freq"]
    evaluated = saves | {n for n in range(1, iters + 1) if asked and n % asked == 0} if asked else set()
    kept = len(saves) if facts["save_total_limit"] < 0 else min(len(saves), facts["save_total_limit"])
    problems += _schedule_problems(facts, per_epoch, iters, updates, dataset.unique_rows, dataset.rows)
    return Preflight(
        rows=dataset.rows,
        unique_rows=dataset.unique_rows,
        tokens=facts["tokens"],
        packs=facts["samples"],
        iters=iters,
        optimizer_updates=updates,
        # Before and after the training there is one more each.
        evaluations=len(evaluated) + 2 if facts["evaluation_inputs"] else 0,
        checkpoints=kept,
        estimated_seconds=round(_seconds(facts, model, iters, measured), 1),
        estimated_memory_mb=round(_memory_mb(facts, model)),
        problems=problems,
    )


def _seconds(facts: dict[str, Any], model: Model, iters: int, measured: Sequence[dict[str, float]]) -> float:
    """Start-up plus iterations. LoRA does 4 operations per weight and token (forward 2, backward through it 2)."""
    tokens = facts["tokens"] / max(1, facts["samples"]) * facts["batch_size"]
    same = [m["seconds"] / m["tokens"] for m in measured if m["parameters"] == model.parameters and m["tokens"]]
    if same:
        each = sorted(same)[len(same) // 2] * tokens
    else:
        # Half of a large matrix product's speed is what a training reaches of it.
        each = 4 * model.parameters * tokens / (0.5 * facts["flops_per_s"]) + 0.02
    return STARTING_SECONDS + iters * each


def _memory_mb(facts: dict[str, Any], model: Model) -> float:
    """Weights, adapter with its optimizer, activations and logits of one batch."""
    half = 4 if model.dtype == "float32" else 2
    weights = model.parameters * (0.6 if facts["quantised"] else half)
    adapter = facts["lora_r"] * model.layers * model.hidden_size * 16 * 16
    tokens = facts["longest"] * facts["batch_size"]
    kept = 2 if facts["activation_checkpointing"] else 34
    activations = tokens * model.hidden_size * model.layers * kept * half
    logits = tokens * model.vocab_size * (half + 8)
    return BASE_MEMORY_MB + (weights + adapter + activations + logits) / 2**20


def _schedule_problems(
    facts: dict[str, Any], per_epoch: int, iters: int, updates: int, unique: int, rows: int
) -> list[Problem]:
    problems = []

    def warn(where: str, message: Text, hint: Text, severity: Any = "warning") -> None:
        problems.append(Problem(severity=severity, where=where, message=message, hint=hint))

    if int((facts["warmup_epochs"] or 0) * per_epoch) == 0:
        least = math.ceil(1000 / iters) / 1000
        warn(
            "warmup_ratio",
            Text("预热的迭代数为零，XTuner 会因此报错退出", "the warm-up has zero iterations, of which XTuner dies"),
            Text(
                f"把 warmup_ratio 设到 {least} 以上，或增大 max_epochs",
                f"warmup_ratio of at least {least}, or more epochs",
            ),
            "error",
        )
    if updates < 30:
        warn(
            "accumulative_counts",
            Text(
                f"总共只有 {updates} 次参数更新，多半学不会",
                f"only {updates} optimizer updates in all: too few to learn",
            ),
            Text(
                "把 accumulative_counts 设为 1、关闭打包，或增加轮数",
                "accumulative_counts 1, no packing, or more epochs",
            ),
        )
    if facts["save_steps"] > iters:
        warn(
            "save_steps",
            Text("训练途中不会保存检查点", "there will be no checkpoint before the end"),
            Text(f"把 save_steps 设到 {max(1, iters // 3)} 左右", f"save_steps of about {max(1, iters // 3)}"),
        )
    if facts["evaluation_freq"] and facts["evaluation_freq"] > iters:
        warn(
            "evaluation_freq",
            Text("训练途中不会评测", "there will be no evaluation on the way"),
            Text(
                f"把 evaluation_freq 设到 {max(1, iters // 6)} 左右", f"evaluation_freq of about {max(1, iters // 6)}"
            ),
        )
    if rows > 100 and unique < rows / 100:
        warn(
            "dataset",
            Text(
                f"{rows} 行里只有 {unique} 行不同，容易过拟合", f"only {unique} of {rows} rows differ: it will overfit"
            ),
            Text("用 balanced 数据集", "use the balanced dataset"),
        )
    return problems
