"""What repeating rows buys: how many rows there are in all, and how many different ones. How many tokens and updates
these come to depends on the model and the config: the preflight counts them.
"""

from dataclasses import dataclass

from core.data.assistant import Assistant
from core.ground.errors import StudioError

# From so many copies of a row on, it is learned by heart and little else is left.
TOO_OFTEN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Rows in all, and different ones."""

    rows: int
    unique_rows: int

    @property
    def copies(self) -> float:
        return self.rows / max(1, self.unique_rows)

    @property
    def too_often(self) -> bool:
        """Whether so much repetition overfits: the course warns of it."""
        return self.copies > TOO_OFTEN


def effect(assistant: Assistant) -> Effect | None:
    """What the choices come to; None where they will not do."""
    once = Assistant(**{**assistant.values(), "n": 0, "repeat": 1})
    try:
        rows = once.rows()
    except StudioError:
        return None
    times = assistant.n + 1 if assistant.recipe == "course" else assistant.repeat
    return Effect(rows=len(rows) * times, unique_rows=len({str(row) for row in rows}))
