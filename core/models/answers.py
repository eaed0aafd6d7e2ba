"""Stores the answers of a base model, valid as long as its weights and tokenizer do not change.

They are in the workspace's cache: what is lost is asked again. `ground.kept_answers` reads and writes the file.
"""

from pathlib import Path

from core.ground.kept_answers import KeptAnswers
from core.ground.workspace import Workspace
from core.models.fingerprint import state_of


def answers_file(workspace: Workspace, model: Path) -> Path | None:
    """Return the file for the current state of the model at this path; None if it has no weights."""
    state = state_of(model)
    return workspace.cache / "answers" / f"{state}.jsonl" if state else None


def answers_of(workspace: Workspace, model: Path) -> KeptAnswers:
    """Return the stored answers for the current state of the model at this path."""
    return KeptAnswers(answers_file(workspace, model))
