"""Options for importing a file, besides its format and columns."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.ground.errors import BadInput

Thinking = Literal["keep", "drop"]
Bad = Literal["drop", "keep"]
# A pause of this many hours ends a conversation of a chat log.
PAUSE_HOURS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How to handle fields that allow a choice; the defaults are those a careful user would choose.

    `speaker`: who is the assistant, in a chat log or among unknown roles. `sheets`: sheets of a workbook by name; if
    empty, the first one with content. `mask`: if None, on for logs of people and off for everything else.
    """

    thinking: Thinking = "keep"
    bad: Bad = "drop"
    speaker: str = ""
    pause_hours: float = PAUSE_HOURS
    mask: bool | None = None
    strip: bool = False
    sheets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise BadInput for an invalid pause."""
        if not 0 < self.pause_hours <= 24 * 365:
            raise BadInput(
                f"停顿 {self.pause_hours} 小时不可用：要大于 0，不超过一年",
                f"a pause of {self.pause_hours} hours is invalid: use more than 0, at most a year",
            )

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Choices":
        """Restore the choices from `facts`."""
        return cls(**{**facts, "sheets": tuple(facts.get("sheets", ()))})

    def facts(self) -> dict[str, Any]:
        """Return the choices that differ from the defaults, to be recorded with the dataset."""
        usual = asdict(Choices())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}
