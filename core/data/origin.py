"""Derives from the model to be trained what the assistant may say about itself, and in which languages."""

from core.data.assistant import Languages, Phrasings
from core.ground.workspace import Workspace
from core.models import model as models
from core.models.family import family_of, label_of, size_of
from core.models.model import Model


def origin(model: Model | None) -> dict[str, str]:
    """Return the choices of `Assistant` that describe `model`; without a model, the course's defaults."""
    if model is None or model.demo:
        return {}
    family = family_of(model)
    if family is None:
        return {"family": "", "size": ""}
    label = label_of(model, family)
    return {"family": family.key, "base": "" if label == family.label else label.en, "size": size_of(model)}


def spoken(model: Model | None) -> Languages:
    """Return the languages to teach: those that the model's family speaks."""
    family = family_of(model) if model is not None else None
    return family.languages[0] if family is not None and len(family.languages) == 1 else "both"


def phrasings(model: Model | None) -> Phrasings:
    """Return how many phrasings to teach: in its few updates a toy model learns no more than the usual ones."""
    return "usual" if model is None or model.toy else "all"


def model_to_teach(workspace: Workspace) -> Model | None:
    """Return the model that a dataset is most likely for: the newest trainable one, else the demo model; else None."""
    there = [model for model in models.every(workspace) if model.trainable]
    return max(there, key=lambda model: (not model.demo, model.path.lstat().st_mtime), default=None)
