"""The forecast of a run: counts, time, memory, disk space, and all problems at once.

Counts (rows, packs, iterations, updates, evaluations, checkpoints) are exact for the given number of processes. Time
and memory come from formulas, calibrated by earlier runs on this machine. Trains nothing.
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psutil

from core.config import config as configs
from core.config import keeping
from core.config.check import AGREEMENT
from core.config.check import check as check_config
from core.config.config import Config
from core.config.memory import Memory, Setup, memory
from core.config.settings.method import prompt_template
from core.data import dataset as datasets
from core.data.tokens import Proof, prove
from core.engine.config_file import ConfigFile
from core.engine.failures.reasons import known_cause
from core.engine.measure import config_facts, machine
from core.engine.presets import check_deepspeed
from core.forecast.case import Case
from core.forecast.duration import Duration, duration, like_it
from core.forecast.findings import findings
from core.forecast.missing import conversion, missing
from core.forecast.schedule import schedule
from core.forecast.space import checkpoint_bytes
from core.ground.errors import StudioError
from core.ground.problem import Problem
from core.ground.text import Text
from core.ground.workspace import Workspace
from core.models.model import Model
from core.models.shape import Shape, shape

# Memory of the measuring process itself: CUDA's context and a matrix product. A run's own is part of its need. Less
# than the 690 MB measured on an H100, for GPUs where it is less.
PROBE_MB = 500
# With a problem in one of these there is nothing to measure.
_NEEDED = {"config.py", AGREEMENT, "model", "dataset"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """The forecast. `packs` are the sequences of one epoch; times in seconds, memory in MB, disk in bytes.

    `estimated_memory_mb` is what training allocates (on a GPU: `memory` in XTuner's log; without one: the process);
    `estimated_total_mb` is the resulting usage shown by the device.
    """

    rows: int = 0
    unique_rows: int = 0
    tokens: int = 0
    packs: int = 0
    iters: int = 0
    iters_per_epoch: int = 0
    epochs: float = 0.0
    optimizer_updates: int = 0
    evaluations: int = 0
    evaluated_at: tuple[int, ...] = ()
    checkpoints: int = 0
    saved_at: tuple[int, ...] = ()
    checkpoint_bytes: int = 0
    estimated_seconds: float | None = None
    estimated_memory_mb: float | None = None
    estimated_total_mb: float | None = None
    free_memory_mb: float | None = None
    device: str = ""
    duration: Duration | None = None
    memory: Memory | None = None
    calibrated: bool = False
    problems: list[Problem] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        numbers = {
            name: getattr(self, name) for name in self.__slots__ if name not in ("duration", "memory", "problems")
        }
        return {
            **numbers,
            "seconds": {part: round(getattr(self.duration, part), 1) for part in ("start", "train", "answer")}
            if self.duration
            else None,
            "memory": [{"name": part.name, "formula": part.formula, "mb": round(part.mb)} for part in self.memory.parts]
            if self.memory
            else None,
            "problems": [problem.to_json() for problem in self.problems],
        }


def preflight(
    workspace: Workspace,
    config: Config,
    measured: Sequence[dict[str, Any]] = (),
    *,
    processes: int = 1,
    deepspeed: str | None = None,
    keep: bool | None = None,
) -> Preflight:
    """Forecast a run of `config` with `processes` processes and one of XTuner's `deepspeed` settings.

    `measured` are earlier runs: `history.measured`; `keep` whether the base model's answers are kept, None: the
    default. Raises BadInput for settings that XTuner does not have, and a `keep` that is impossible.
    """
    check_deepspeed(deepspeed)
    if keep:
        keeping.check(config.name, config.values())
    problems = check_config(workspace, config)
    # Values out of bounds are reported with the rest; without a model or data there is nothing to measure.
    if any(problem.severity == "error" and problem.where in _NEEDED for problem in problems):
        return Preflight(problems=problems)
    dataset, model = datasets.find(workspace, config.dataset), configs.model_of(workspace, config)
    try:
        # Two processes in parallel that mostly import.
        with ThreadPoolExecutor(1) as beside:
            asked = beside.submit(machine, workspace)
            proved = beside.submit(_proof, workspace, config, model)
            facts = {
                **config_facts(workspace, config.file, dataset.sha256, model.path),
                "deepspeed": deepspeed,
                "processes": processes,
                "keeps": keeping.usual(config.values(), dataset, model) if keep is None else keep,
            }
            here, proof = asked.result(), proved.result()
    except StudioError as error:
        return Preflight(problems=[*problems, _unreadable("config.py", error.text)])
    problems += missing(facts, model)
    if not facts["known_kind"]:
        message = Text("不是监督微调或增量预训练的配置", "not a config for supervised fine-tuning or pre-training")
        return Preflight(problems=[*problems, _unreadable("config.py", message)])
    if "error" in facts["data"]:
        told = facts["data"]["error"]
        if told.startswith("KeyError") and (needless := conversion(facts, dataset)):
            return Preflight(problems=[*problems, needless])
        _, reason = known_cause(told) or ("", Text(told, told))
        message = Text(f"训练数据读不出来：{reason.zh}", f"the training data cannot be read: {reason.en}")
        return Preflight(problems=[*problems, _unreadable("dataset", message)])
    if not facts["max_iters"] and not facts["max_epochs"]:
        message = Text(
            "没有写训练多久：缺少 max_epochs 或 max_iters",
            "no training length: neither max_epochs nor max_iters is set",
        )
        return Preflight(problems=[*problems, _unreadable("train_cfg", message)])
    plan = schedule(facts, facts["data"]["samples"], processes)
    form = shape(model.path, tuple((facts["model"].get("lora") or {}).get("target_modules") or ()))
    cuda = bool(here["cuda"])
    takes = memory(form, facts, cuda=cuda) if form else None
    size = checkpoint_bytes(
        form,
        Setup.of(facts, cuda=cuda),
        optimizer=(facts["checkpoint"] or {}).get("save_optimizer", True),
    )
    time = duration(form, facts, plan, here, measured, size)
    allocated, total = _corrected(takes, facts, form, measured)
    free = (
        float(min(here["free_mb"] + PROBE_MB, here["total_mb"])) if cuda else psutil.virtual_memory().available / 2**20
    )
    disk = shutil.disk_usage(workspace.root).free
    case = Case(
        facts=facts,
        schedule=plan,
        dataset=dataset,
        model=model,
        shape=form,
        machine=here,
        free_mb=free,
        needed_mb=total,
        memory=takes,
        free_disk=disk,
        checkpoint_bytes=size,
        proof=proof,
    )
    return Preflight(
        rows=dataset.rows,
        unique_rows=dataset.unique_rows,
        tokens=facts["data"]["tokens"],
        packs=facts["data"]["samples"],
        iters=plan.iters,
        iters_per_epoch=plan.per_epoch,
        epochs=round(plan.epochs, 3),
        optimizer_updates=plan.updates,
        evaluations=plan.evaluations,
        evaluated_at=plan.answers,
        checkpoints=plan.kept,
        saved_at=plan.saves,
        checkpoint_bytes=size,
        estimated_seconds=round(time.seconds, 1),
        estimated_memory_mb=None if allocated is None else round(allocated if cuda else total),
        estimated_total_mb=None if total is None else round(total),
        free_memory_mb=round(free),
        device=here.get("name") or "CPU",
        duration=time,
        memory=takes,
        calibrated=time.calibrated,
        problems=problems + findings(case),
    )


def _proof(workspace: Workspace, config: Config, model: Model) -> Proof | None:
    """Return the config's prompt template in tokens; None if the model's tokenizer cannot be used."""
    template = prompt_template(ConfigFile(config.text()))
    try:
        return prove(workspace, model, template) if template else None
    except StudioError:
        return None


def _corrected(
    takes: Memory | None, facts: dict[str, Any], form: Shape | None, measured: Sequence[dict[str, Any]]
) -> tuple[float | None, float | None]:
    """Return allocated and total memory in MB, corrected by the formula's error for the newest similar run."""
    if takes is None or form is None:
        return None, None
    own = like_it(facts, form.parameters, measured) or {}
    allocated = takes.allocated_mb
    if own.get("allocated_mb") and own.get("predicted_mb"):
        allocated *= own["allocated_mb"] / own["predicted_mb"]
    base = takes.base_mb
    if own.get("total_mb") and own.get("predicted_mb"):
        # Its memory besides the training itself; on a GPU this includes the allocator's cache, which is released when
        # memory is short and so is not counted as needed.
        beside = own["total_mb"] - (own.get("allocated_mb") or own["predicted_mb"])
        base = min(beside, 2 * takes.base_mb) if takes.cuda else beside
    return allocated, allocated + max(base, 0.0)


def _unreadable(where: str, message: Text) -> Problem:
    hint = Text("改好配置里报错的地方", "fix what the message names in the config")
    return Problem(severity="error", where=where, message=message, hint=hint)
