"""What run.json says of a run: the choices that it was started with, written once, read by everyone as attributes.

The keys on disk are the names of the attributes; a dataset's are those of its `made` beside its own. A file of an
earlier version opens too: what it lacks gets the default that stands here, what it has beyond is kept as it is.
Where a run stands now is not here: that is computed, by `state`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from core.config.config import Config
from core.data import storage
from core.data.dataset import Dataset
from core.engine.commands import Cluster
from core.engine.presets import PromptTemplate
from core.ground.clock import Moment
from core.models.fingerprint import fingerprint
from core.models.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFacts:
    """The config that was copied into the run, and what it was made from; `more` is whatever else config.json had.

    `edits` are `{path, why: {zh, en}}`, what its recipe changed in the preset.
    """

    name: str = ""
    preset: str = ""
    recipe: str = ""
    model: str = ""
    dataset: str = ""
    gpu: bool = True
    edits: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config) -> Self:
        return cls.from_json({**config.facts, "name": config.name})

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Self:
        return cls(**_known(cls, written), more=_rest(cls, written))

    def to_json(self) -> dict[str, Any]:
        return {**self.more, **{key: value for key, value in asdict(self).items() if key != "more"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """The data that it was trained on; `made` is how the dataset was made, as dataset.json said then."""

    name: str = ""
    sha256: str = ""
    rows: int = 0
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def nickname(self) -> str | None:
        """Whose assistant the data teach; None for data that teach no identity."""
        return self.made.get("nickname")

    @property
    def mix(self) -> str | None:
        """By which mix of conversations an assistant's data were made: `course`, `balanced`; None for other data."""
        return self.made.get("recipe")

    @property
    def is_text(self) -> bool:
        """Whether they are texts and not dialogues."""
        return storage.is_text(self.made)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages in which the data say who the assistant is; the course's own two questions are Chinese."""
        chosen = self.made.get("language", "both")
        if self.mix == "course" and (chosen != "en" or "questions" not in self.made):
            chosen = "zh"
        return (chosen,) if chosen in ("zh", "en") else ("zh", "en")

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        return cls(name=dataset.name, sha256=dataset.sha256, rows=dataset.rows, made=dict(dataset.made))

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Self:
        return cls(**_known(cls, written), made=_rest(cls, written))

    def to_json(self) -> dict[str, Any]:
        return {**self.made, "name": self.name, "sha256": self.sha256, "rows": self.rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The base model. `prompt_template` names the template that it has of itself, which need not be the run's; `fingerprint` says which weights these were."""

    name: str = ""
    path: str = ""
    parameters: int = 0
    architecture: str | None = None
    prompt_template: str = "default"
    fingerprint: str | None = None

    @classmethod
    def of(cls, model: Model) -> Self:
        return cls(
            name=model.name,
            path=str(model.path),
            parameters=model.parameters,
            architecture=model.architecture,
            prompt_template=model.prompt_template.title,
            fingerprint=fingerprint(model.path),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """All of run.json."""

    id: str
    # When it was started: the wall clock's time to show, the number by which runs are sorted, the moment by the
    # machine's own clock.
    created: float = 0.0
    serial: int = 0
    asked: Moment | None = None

    config: ConfigFacts = field(default_factory=ConfigFacts)
    dataset: DatasetFacts = field(default_factory=DatasetFacts)
    model: ModelFacts = field(default_factory=ModelFacts)
    # The template that questions and answers were wrapped in, as text: XTuner's own may be another in a later version.
    # None in runs of versions that did not write it; `Run.template` knows what to take then.
    template: PromptTemplate | None = None
    # What is asked during the training.
    questions: list[str] = field(default_factory=list)
    # The plan of an early stop, as the trainer reads it; None where none was requested.
    early_stop: dict[str, Any] | None = None
    # Whether what the base model would say is kept as likely as it was.
    keep: bool = False
    # The adapter's rank; None for a full fine-tune.
    lora_r: int | None = None

    # Of each package that matters, by name; None for one that was not installed.
    versions: dict[str, str | None] = field(default_factory=dict)
    cluster: Cluster = field(default_factory=Cluster)
    deepspeed: str | None = None
    # What the learner would have typed, and on several machines what to type on each.
    command: str = ""
    commands: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Self:
        """The facts of a run.json of this version or an earlier one."""
        known = _known(cls, written)
        parts: dict[str, Any] = {
            "config": ConfigFacts.from_json(written.get("config") or {}),
            "dataset": DatasetFacts.from_json(written.get("dataset") or {}),
            "model": ModelFacts(**_known(ModelFacts, written.get("model") or {})),
            "cluster": Cluster(**_known(Cluster, written.get("cluster") or {})),
            "asked": Moment.from_json(written.get("asked")),
            "template": PromptTemplate.from_json(written["template"]) if written.get("template") else None,
        }
        return cls(**{**known, **parts})

    def to_json(self) -> dict[str, Any]:
        """What run.json holds."""
        return {
            **asdict(self),
            "config": self.config.to_json(),
            "dataset": self.dataset.to_json(),
            "asked": self.asked.to_json() if self.asked else None,
            "template": self.template.to_json() if self.template else None,
        }


def _known(kind: type, written: Mapping[str, Any]) -> dict[str, Any]:
    """What is written of the attributes of `kind`. Null is what the default says, or was written by mistake."""
    return {name: value for name, value in written.items() if name in _names(kind) and value is not None}


def _rest(kind: type, written: Mapping[str, Any]) -> dict[str, Any]:
    """What is written beyond the attributes of `kind`."""
    return {name: value for name, value in written.items() if name not in _names(kind)}


def _names(kind: type) -> set[str]:
    """The attributes of `kind` that have a key of their own; `more` and `made` take what has none."""
    return {attribute.name for attribute in fields(kind)} - {"more", "made"}
