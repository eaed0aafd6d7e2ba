"""The steps of the assignment, ticked from facts on disk; the next step, and what the report lacks. Read-only.

A step that the course does not require is optional: it is not counted and never the next one.
"""

from dataclasses import dataclass

from core.chat.score import stored
from core.config import config as configs
from core.data import dataset as datasets
from core.engine import checkup, interpreter
from core.export.export import exported
from core.export.gguf import conversion
from core.ground.errors import StudioError
from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.models import model as models
from core.models import trust
from core.report import writeup
from core.training import run as runs
from core.training.run import Run

# Each step with the page where it is done.
PAGES = {
    "environment": "setup",
    "model": "setup",
    "dataset": "dataset",
    "config": "config",
    "trained": "train",
    "converted": "export",
    "merged": "export",
    "scored": "chat",
    "reported": "report",
    "taken_home": "export",
}
OPTIONAL = ("taken_home",)
# Without these the report has a gap; the other steps only lead to them.
IN_THE_WRITEUP = ("environment", "model", "dataset", "config", "trained", "converted", "merged", "scored")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step: whether it is done, the page where it is done, and the name of what proves it, if any."""

    name: str
    page: str
    done: bool
    evidence: str | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """All steps in the course's order, then the optional ones."""

    steps: tuple[Step, ...]

    @property
    def required(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if not step.optional)

    @property
    def done(self) -> int:
        """The number of required steps that are done."""
        return sum(step.done for step in self.required)

    @property
    def next(self) -> Step | None:
        """The first required step that is not done; None if all are.

        The check of the environment holds nobody up who has come to a config without it: then it is the last.
        """
        left = [step for step in self.required if not step.done]
        if len(left) > 1 and left[0].name == "environment" and self._has("config"):
            left.pop(0)
        return left[0] if left else None

    def _has(self, name: str) -> bool:
        return any(step.done for step in self.steps if step.name == name)

    @property
    def missing(self) -> tuple[Step, ...]:
        """The steps that the report lacks."""
        return tuple(step for step in self.steps if not step.done and step.name in IN_THE_WRITEUP)


def assignment(workspace: Workspace) -> Assignment:
    """Return the state of the assignment in this workspace, over all its runs."""
    evidence = _evidence(workspace)
    return Assignment(
        steps=tuple(
            Step(
                name=name,
                page=page,
                done=evidence[name] is not None,
                evidence=evidence[name],
                optional=name in OPTIONAL,
            )
            for name, page in PAGES.items()
        )
    )


def _evidence(workspace: Workspace) -> dict[str, str | None]:
    """Return for each step the name of what proves that it is done; None if nothing does."""
    trained = [run for run in runs.every(workspace) if (job := run.job) and job.status() is Status.FINISHED]
    # Looked for only up to the first of each, as a workspace may have many runs.
    usable = (
        model.name for model in models.every(workspace) if model.trainable and trust.code(workspace, model.path).trusted
    )
    return {
        "environment": _environment(workspace, trained),
        "model": next(usable, None),
        "dataset": next((dataset.name for dataset in datasets.every(workspace)), None),
        "config": next((config.name for config in configs.every(workspace)), None),
        "trained": next((run.id for run in trained), None),
        "converted": next((run.id for run in trained if exported(run).adapter), None),
        "merged": next((run.id for run in trained if exported(run).merged), None),
        "scored": next((run.id for run in trained if stored(run)), None),
        "reported": next((run.id for run in trained if writeup.there(run)), None),
        "taken_home": next((run.id for run in trained if conversion.made(run)), None),
    }


def _environment(workspace: Workspace, trained: list[Run]) -> str | None:
    """Return the engine if everything in it loads: by its last full check, or because this version of it has trained."""
    try:
        engine = interpreter.in_use(workspace)
    except StudioError:
        return None
    version = engine.versions["xtuner"]
    found = checkup.last(workspace, engine)
    fine = not found.failed if found else any(run.facts.versions.get("xtuner") == version for run in trained)
    return f"xtuner {version}" if fine else None
