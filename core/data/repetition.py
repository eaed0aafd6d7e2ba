"""What repeating rows buys: rows, tokens, and how often the weights are updated; told before an hour is spent on it.

Tokens are estimated from the characters (what a tokenizer really makes of them is for `statistics`): InternLM2's makes
about 0.6 of a Chinese character and 0.28 of another one, and 13 for the prompt around a turn.
"""

import math
import re
from dataclasses import dataclass

from core.data.assistant import Assistant
from core.data.row import Row
from core.ground.errors import StudioError

# The course's own settings: rows packed to 2048 tokens, one pack a step, 16 steps an update, 3 epochs.
PACK, ACCUMULATE, EPOCHS = 2048, 16, 3
# From so many copies of a row on, it is learned by heart and little else is left.
TOO_OFTEN = 100
_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uff00-\uffef]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Rows in all and different ones, tokens (estimated), optimizer updates with the course's settings."""

    rows: int
    unique_rows: int
    tokens: int
    updates: int

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
    tokens = times * sum(map(estimated_tokens, rows))
    unique = len({str(row) for row in rows})
    return Effect(
        rows=len(rows) * times,
        unique_rows=unique,
        tokens=tokens,
        updates=math.ceil(math.ceil(tokens / PACK) * EPOCHS / ACCUMULATE),
    )


def estimated_tokens(row: Row) -> int:
    """About how many tokens a row has."""
    total = 1.0
    for turn in row["conversation"]:
        text = turn.get("system", "") + turn["input"] + turn["output"]
        han = len(_HAN.findall(text))
        total += 13 + 0.6 * han + 0.28 * (len(text) - han)
    return round(total)
