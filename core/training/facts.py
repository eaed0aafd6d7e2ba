"""The contents of run.json: the choices that a run was started with, written once, read as attributes.

The keys on disk are the names of the attributes; a dataset's entry also contains the keys of its `made`. Files of
earlier versions can be read too: missing values get the defaults below, unknown ones are preserved. The current state
of a run is not stored here but computed, by `state`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from core.engine.cluster import Cluster
from core.engine.presets import PromptTemplate
from core.ground.clock import Moment
from core.ground.errors import BadInput
from core.models.fingerprint import fingerprint
from core.models.model import Model

if TYPE_CHECKING:
    from core.config.config import Config
    from core.data.dataset import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFacts:
    """The config that was copied into the run, and what it was made from; `more` holds other keys of config.json.

    `edits` are `{path, why: {zh, en}}`, the changes that its recipe made to the preset.
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
    def of(cls, config: "Config") -> Self:
        return cls.from_json({**config.facts, "name": config.name})

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Self:
        return cls(**_known(cls, written), more=_rest(cls, written))

    def to_json(self) -> dict[str, Any]:
        return {**self.more, **{key: value for key, value in asdict(self).items() if key != "more"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """The data that the run was trained on; `made` is how the dataset was made, from its dataset.json at the time."""

    name: str = ""
    sha256: str = ""
    rows: int = 0
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def nickname(self) -> str | None:
        """The nickname that the data teach; None if they teach no identity."""
        return self.made.get("nickname")

    @property
    def mix(self) -> str | None:
        """The mix of conversations in an assistant's data: `course`, `balanced`; None for other data."""
        return self.made.get("recipe")

    @property
    def is_text(self) -> bool:
        """Whether the rows are plain texts rather than conversations."""
        from core.data import storage

        return storage.is_text(self.made)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages in which the data teach the identity; the course's own two questions are Chinese."""
        chosen = self.made.get("language", "both")
        if self.mix == "course" and (chosen != "en" or "questions" not in self.made):
            chosen = "zh"
        return (chosen,) if chosen in ("zh", "en") else ("zh", "en")

    @classmethod
    def of(cls, dataset: "Dataset") -> Self:
        return cls(name=dataset.name, sha256=dataset.sha256, rows=dataset.rows, made=dict(dataset.made))

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Self:
        return cls(**_known(cls, written), made=_rest(cls, written))

    def to_json(self) -> dict[str, Any]:
        return {**self.made, "name": self.name, "sha256": self.sha256, "rows": self.rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The base model.

    `prompt_template` names the model's own template, which need not be the run's; `fingerprint` identifies the weights.
    """

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
    # The start: wall-clock time for display, a serial number for sorting, and the moment by the monotonic clock.
    created: float = 0.0
    serial: int = 0
    asked: Moment | None = None

    config: ConfigFacts = field(default_factory=ConfigFacts)
    dataset: DatasetFacts = field(default_factory=DatasetFacts)
    model: ModelFacts = field(default_factory=ModelFacts)
    # The prompt template as text: XTuner's own may change in a later version. None in runs of versions that did not
    # write it; see `Run.template`.
    template: PromptTemplate | None = None
    # The evaluation questions.
    questions: list[str] = field(default_factory=list)
    # The plan for early stopping, as the trainer reads it; None if it is off.
    early_stop: dict[str, Any] | None = None
    # Whether the base model's own answers are kept as likely as they were.
    keep: bool = False
    # The adapter's rank; None for full fine-tuning.
    lora_r: int | None = None

    # Package versions by name; None if not installed.
    versions: dict[str, str | None] = field(default_factory=dict)
    cluster: Cluster = field(default_factory=Cluster)
    deepspeed: str | None = None
    # The equivalent commands: one, or one per machine.
    command: str = ""
    commands: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Self:
        """Return the facts in a run.json of this version or an earlier one."""
        known = _known(cls, written)
        parts: dict[str, Any] = {
            "config": ConfigFacts.from_json(written.get("config") or {}),
            "dataset": DatasetFacts.from_json(written.get("dataset") or {}),
            "model": ModelFacts(**_known(ModelFacts, written.get("model") or {})),
            "cluster": _cluster(_known(Cluster, written.get("cluster") or {})),
            "asked": Moment.from_json(written.get("asked")),
            "template": PromptTemplate.from_json(written["template"]) if written.get("template") else None,
        }
        return cls(**{**known, **parts})

    def to_json(self) -> dict[str, Any]:
        """Return the contents of run.json."""
        return {
            **asdict(self),
            "config": self.config.to_json(),
            "dataset": self.dataset.to_json(),
            "asked": self.asked.to_json() if self.asked else None,
            "template": self.template.to_json() if self.template else None,
        }


def _cluster(known: dict[str, Any]) -> Cluster:
    """Return the cluster, without further options of Slurm's that only an earlier version accepted."""
    try:
        return Cluster(**known)
    except BadInput:
        return Cluster(**{**known, "options": ""})


def _known(kind: type, written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the written attributes of `kind`. Null means the default, or was written by mistake."""
    return {name: value for name, value in written.items() if name in _names(kind) and value is not None}


def _rest(kind: type, written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the written keys that are not attributes of `kind`."""
    return {name: value for name, value in written.items() if name not in _names(kind)}


@cache
def _names(kind: type) -> set[str]:
    """Return the attributes of `kind` that have their own key; `more` and `made` hold the others."""
    return {attribute.name for attribute in fields(kind)} - {"more", "made"}
