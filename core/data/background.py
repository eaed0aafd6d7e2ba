"""Imports and corpora as jobs: a large file takes a while, and a broken one must not crash the page.

Only builds the command line; the headless command does the work, through `intake` and `corpus`.
"""

from collections.abc import Sequence
from pathlib import Path

from core.data import corpus, intake
from core.data.files.choices import Choices
from core.data.storage import is_taken
from core.engine.commands import module_command
from core.ground.text import Language, speaking
from core.ground.workspace import Workspace
from core.jobs.job import Job


def start_import(
    workspace: Workspace,
    file: Path,
    wanted: intake.Wanted,
    name: str,
    language: Language | None = None,
    *,
    keep: bool = False,
) -> Job:
    """Start importing a file as the dataset `name`; with `keep` the file is moved into it.

    Raises BadInput if the name is taken or the beginning of the file is already refused.
    """
    _refuse_taken(workspace, name)
    intake.peek(file, wanted)
    options = ["--format", wanted.format]
    if wanted.columns:
        options += [f"--question={wanted.columns.question}", f"--answer={wanted.columns.answer}"]
        options += [f"--system={wanted.columns.system}"] if wanted.columns.system else []
    if wanted.fill:
        options += [f"--assistant-name={wanted.fill.name}", f"--author={wanted.fill.author}"]
    options += _choices(wanted.choices)
    return _start(workspace, "import", [file], name, options, language, keep)


def start_corpus(
    workspace: Workspace,
    files: Sequence[Path],
    wanted: corpus.Wanted,
    name: str,
    language: Language | None = None,
    *,
    keep: bool = False,
    answers_of: str | None = None,
) -> Job:
    """Start creating a corpus from documents as the dataset `name`, with or without a model's own answers.

    Raises BadInput if the name is taken.
    """
    _refuse_taken(workspace, name)
    options = [f"--chunk={wanted.chunk}", f"--overlap={wanted.overlap}", f"--held-out={wanted.held_out}"]
    options += [] if wanted.deduplicate else ["--raw"]
    options += [f"--model={answers_of}"] if answers_of else ["--no-replay"]
    return _start(workspace, "corpus", files, name, options, language, keep)


def _choices(choices: Choices) -> list[str]:
    """Options of the headless command for these choices."""
    mask = [] if choices.mask is None else ["--mask" if choices.mask else "--no-mask"]
    return [
        f"--thinking={choices.thinking}",
        f"--bad-answers={choices.bad}",
        f"--speaker={choices.speaker}",
        f"--pause-hours={choices.pause_hours}",
        *mask,
        *(["--strip-tokens"] if choices.strip else []),
        *[f"--sheet={name}" for name in choices.sheets],
    ]


def _refuse_taken(workspace: Workspace, name: str) -> None:
    if workspace.dataset(name).exists():
        raise is_taken(name)


def _start(
    workspace: Workspace,
    verb: str,
    files: Sequence[Path],
    name: str,
    options: list[str],
    language: Language | None,
    keep: bool,
) -> Job:
    argv = module_command("core", "datasets", verb, *[file.absolute() for file in files], "--out", name, *options)
    argv += ["--keep"] if keep else []
    argv += ["--workspace", str(workspace.root), "--json"]
    return Job.start(
        workspace.jobs,
        verb,
        argv,
        env=speaking(language),
        artefacts=[workspace.dataset(name) / "dataset.json"],
        facts={"name": name, "file": files[0].name},
    )
