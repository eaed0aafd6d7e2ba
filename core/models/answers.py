"""Where the answers of a base model are kept, for as long as its weights and its tokenizer are what they are.

In the workspace's cache: what is lost is asked again. The file itself is `ground.kept_answers`'.
"""

from pathlib import Path

from core.ground.kept_answers import KeptAnswers
from core.ground.workspace import Workspace
from core.models.fingerprint import state_of


def answers_file(workspace: Workspace, model: Path) -> Path | None:
    """The file for the model at this path as it is now; None where it has no weights."""
    state = state_of(model)
    return workspace.cache / "answers" / f"{state}.jsonl" if state else None


def answers_of(workspace: Workspace, model: Path) -> KeptAnswers:
    """What the model at this path has answered as it is now."""
    return KeptAnswers(answers_file(workspace, model))
