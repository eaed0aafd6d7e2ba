"""The effect of repeating rows: how many rows there are in total, and how many are unique.

The number of tokens and updates depends on the model and the config: the preflight counts those.
"""

from dataclasses import dataclass

from core.data.assistant import Assistant
from core.ground.errors import StudioError

# From this many copies of a row on, the model memorizes it and forgets most other things.
TOO_OFTEN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Rows in total, and unique rows."""

    rows: int
    unique_rows: int

    @property
    def copies(self) -> float:
        return self.rows / max(1, self.unique_rows)

    @property
    def too_often(self) -> bool:
        """Whether this much repetition overfits, which the course warns about."""
        return self.copies > TOO_OFTEN


def effect(assistant: Assistant) -> Effect | None:
    """Return the effect of the choices; None if they are invalid."""
    once = Assistant(**{**assistant.values(), "n": 0, "repeat": 1})
    try:
        rows = once.rows()
    except StudioError:
        return None
    times = assistant.n + 1 if assistant.recipe == "course" else assistant.repeat
    return Effect(rows=len(rows) * times, unique_rows=len({str(row) for row in rows}))
