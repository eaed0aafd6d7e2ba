"""When an answer says whose assistant it is, and when it still says what the base model said.

One rule for the scores, for the early stop inside a training, and for whoever else judges an answer. Standard library
and Python 3.10 only, so that the engine's workers may import it. Knows no questions: those are `data.dialogues`'.
"""

import difflib

# By which an answer says that it is somebody's assistant.
ROLES = ("小助手", "助手", "assistant", "助理")
# From this similarity on (difflib's ratio of matching characters) an answer still says the same.
SAME = 0.9


def carries(answer: str, nickname: str) -> bool:
    """Whether an answer says whose assistant it is: the nickname, letter for letter, and the role."""
    return nickname in answer and any(role in answer.lower() for role in ROLES)


def same(answer: str, base: str) -> bool:
    """Whether an answer still says what the base model said."""
    return answer == base or difflib.SequenceMatcher(None, answer, base, autojunk=False).ratio() >= SAME
