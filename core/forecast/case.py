"""Everything known about a run before it starts, and how its problems are reported."""

from dataclasses import dataclass
from typing import Any, Literal

from core.config.memory import Memory
from core.data.dataset import Dataset
from core.data.tokens import Proof
from core.forecast.schedule import Schedule
from core.ground.problem import Problem
from core.ground.text import Text
from core.models.model import Model
from core.models.shape import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything known about a run before it starts. `free_mb` is the memory available to it on this machine."""

    facts: dict[str, Any]
    schedule: Schedule
    dataset: Dataset
    model: Model
    shape: Shape | None
    machine: dict[str, Any]
    free_mb: float
    needed_mb: float | None
    memory: Memory | None
    free_disk: int
    checkpoint_bytes: int
    # The prompt template in tokens; None without a template or tokenizer.
    proof: Proof | None = None

    @property
    def cuda(self) -> bool:
        return bool(self.machine.get("cuda"))

    @property
    def adapter(self) -> bool:
        return bool(self.facts["model"].get("lora"))

    @property
    def quantised(self) -> bool:
        return bool((self.facts["model"].get("llm") or {}).get("quantization_config"))


def problem(
    where: str,
    message: tuple[str, str],
    hint: tuple[str, str],
    fix: dict[str, Any] | None = None,
    severity: Literal["error", "warning"] = "warning",
) -> Problem:
    """Return a problem with its message and hint in Chinese and English; `fix` are the settings that solve it."""
    return Problem(severity=severity, where=where, message=Text(*message), hint=Text(*hint), fix=fix)


def said(fix: dict[str, Any] | None) -> str:
    """Return settings as they are written: `name=value, name=value`."""
    return ", ".join(f"{name}={value}" for name, value in (fix or {}).items())
