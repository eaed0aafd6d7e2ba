"""What can be chosen about a file that is imported, beside its format and columns."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.ground.errors import BadInput

Thinking = Literal["keep", "drop"]
Bad = Literal["drop", "keep"]
# Of a chat log: a pause of so many hours ends a conversation.
PAUSE_HOURS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What becomes of the fields that leave a choice; the usual is what a careful person would choose.

    `speaker`: who of a chat log, or of roles that nobody knows, is the assistant. `sheets`: of a workbook, by name;
    none: the first that holds anything. `mask` without a choice: on for logs of people, off for all else.
    """

    thinking: Thinking = "keep"
    bad: Bad = "drop"
    speaker: str = ""
    pause_hours: float = PAUSE_HOURS
    mask: bool | None = None
    strip: bool = False
    sheets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise BadInput for a pause that cannot be."""
        if not 0 < self.pause_hours <= 24 * 365:
            raise BadInput(
                f"停顿 {self.pause_hours} 小时不可用：要大于 0，不超过一年",
                f"a pause of {self.pause_hours} hours is invalid: use more than 0, at most a year",
            )

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Choices":
        """The choices that `facts` keeps of them."""
        return cls(**{**facts, "sheets": tuple(facts.get("sheets", ()))})

    def facts(self) -> dict[str, Any]:
        """Those that are not the usual ones, to be kept with the dataset."""
        usual = asdict(Choices())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}
