"""Datasets that include a model's own answers, generated if none are stored: for an assistant and for a corpus.

If the model cannot be asked, an assistant gets the built-in rows instead, a corpus none, and the reason is returned.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core import replay
from core.data import assistant, corpus, origin, storage
from core.data.assistant import Assistant
from core.data.checks import Finding
from core.data.dataset import Dataset
from core.data.replies import as_text
from core.engine.commands import module_command
from core.ground.errors import StudioError, WorkFailed
from core.ground.text import Language, Text, speaking
from core.ground.workspace import Workspace, free_name
from core.jobs.job import Job
from core.models.model import Model
from core.replay import Replay, Stopped, Tell


def make(
    workspace: Workspace,
    wanted: Assistant,
    model: Model | None,
    name: str | None = None,
    tell: Tell | None = None,
    *,
    only: bool = False,
) -> tuple[Dataset, Text | None]:
    """Create the dataset with general rows answered by `model` (None: built-in).

    Also return why they are built-in after all.

    With `only` they must be the model's. Raises BadInput for invalid choices, Stopped on SIGTERM.
    """
    wanted = wanted.checked()
    if name is not None and workspace.dataset(name).exists():
        # Checked before minutes of work, not after.
        raise storage.is_taken(name)
    if model is None or wanted.recipe == "course":
        return assistant.make(workspace, wanted, name), None
    try:
        answers = replay.had(workspace, model.name, tell)
        why = answers.why_none
        if why and only:
            raise WorkFailed(why.zh, why.en)
    except StudioError as error:
        if only or isinstance(error, Stopped):
            raise
        why = error.text
    if why is None:
        return assistant.make(workspace, with_answers(wanted, answers), name), None
    return assistant.make(workspace, wanted, name), Text(
        f"通用对话用的是自带的问答：{why.zh}", f"the built-in general conversations are used: {why.en}"
    )


def make_corpus(
    workspace: Workspace,
    files: Sequence[Path],
    wanted: corpus.Wanted,
    model: Model | None,
    name: str | None = None,
    tell: Tell | None = None,
    *,
    keep: bool = False,
) -> tuple[Dataset, corpus.Told, list[Finding], Text | None]:
    """Create a corpus that includes answers of `model` (None: without); also return why there are none after all.

    Raises as `make`.
    """
    if name is not None and workspace.dataset(name).exists():
        raise storage.is_taken(name)
    answers, why = None, None
    if model is not None:
        try:
            kept = replay.had(workspace, model.name, tell)
            why = kept.why_none
            rows = [as_text(reply, model.prompt_template) for reply in kept.replies]
            answers = corpus.Answers(model.name, rows) if rows else None
        except StudioError as error:
            if isinstance(error, Stopped):
                raise
            why = error.text
    made = corpus.make(workspace, files, wanted, name, tell, keep=keep, answers=answers)
    if why is not None:
        why = Text(f"语料里没有模型自己的回答：{why.zh}", f"the corpus has none of the model's own answers: {why.en}")
    return *made, why


def usual(nickname: str, model: Model) -> Assistant:
    """Return the default assistant for a model, as on the Dataset page."""
    return Assistant(
        nickname=nickname, language=origin.spoken(model), phrasings=origin.phrasings(model), **origin.origin(model)
    )


def must_ask(workspace: Workspace, model: Model) -> bool:
    """Return whether the default dataset requires asking the model first, which takes minutes."""
    return replay.by_default(model) and replay.stored(workspace, model.name) is None


def at_once(workspace: Workspace, nickname: str, model: Model) -> Dataset:
    """Create the default dataset for a model that need not be asked first. Raises BadInput for an invalid nickname."""
    return make(workspace, usual(nickname, model), model if replay.by_default(model) else None)[0]


def with_answers(wanted: Assistant, answers: Replay) -> Assistant:
    """Return the choices with a model's answers as the general rows."""
    return Assistant(**{**wanted.values(), "replay": answers.replies, "replay_model": answers.model})


def start(
    workspace: Workspace, wanted: Assistant, model: Model, name: str | None, language: Language | None = None
) -> Job:
    """Start `make` as a job, which outlives the page: a model's answers take minutes. Raises BadInput as `make`."""
    wanted = wanted.checked()
    if name is not None and workspace.dataset(name).exists():
        raise storage.is_taken(name)
    chosen = name or free_name(workspace.datasets, "assistant")
    argv = module_command(
        "core", "datasets", "assistant", f"--name={wanted.nickname}", f"--choices={json.dumps(choices(wanted))}",
        f"--model={model.name}", "--out", chosen, "--workspace", workspace.root, "--json",
    )  # fmt: skip
    return Job.start(
        workspace.jobs,
        "assistant",
        argv,
        env=speaking(language),
        artefacts=[workspace.dataset(chosen) / "dataset.json"],
        facts={"name": chosen, "model": model.name},
    )


def choices(wanted: Assistant) -> dict[str, Any]:
    """Return the choices as JSON, without the nickname and the answers, which the model provides."""
    return {key: value for key, value in wanted.made().items() if key not in ("nickname", "kind", "replay_model")}
