"""A finding of a check: checks return all of them at once and raise nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.ground.text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong, where, how severe, and what to do about it. `fix`: settings that would fix it, by name."""

    severity: Literal["error", "warning"]
    where: str
    message: Text
    hint: Text
    fix: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        told = {"severity": self.severity, "where": self.where, "message": str(self.message), "hint": str(self.hint)}
        return {**told, "fix": dict(self.fix)} if self.fix else told
