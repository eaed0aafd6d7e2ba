"""Whether an answer states the assistant's identity, and whether it still matches the base model's.

One rule for the scores, for early stopping during training, and for every other judge of answers. Standard library and
Python 3.10 only, so that the engine's workers may import it. Contains no questions: those are in `data.dialogues`.
"""

import difflib

# The words by which an answer calls itself an assistant.
ROLES = ("小助手", "助手", "assistant", "助理")
# An answer counts as the same from this similarity on (difflib's ratio of matching characters).
SAME = 0.9


def carries(answer: str, nickname: str) -> bool:
    """Return whether an answer states the identity: the exact nickname, and the role."""
    return nickname in answer and any(role in answer.lower() for role in ROLES)


def same(answer: str, base: str) -> bool:
    """Return whether an answer still matches the base model's."""
    return answer == base or difflib.SequenceMatcher(None, answer, base, autojunk=False).ratio() >= SAME
