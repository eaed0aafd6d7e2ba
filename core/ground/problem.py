"""Something that a check found: a check returns all of them at once and raises nothing."""

from dataclasses import dataclass
from typing import Any, Literal

from core.ground.text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong, where, how bad, and what to do about it."""

    severity: Literal["error", "warning"]
    where: str
    message: Text
    hint: Text

    def to_json(self) -> dict[str, Any]:
        return {"severity": self.severity, "where": self.where, "message": str(self.message), "hint": str(self.hint)}
