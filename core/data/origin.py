"""For which model an assistant's dataset is made, and so what the assistant may say of itself and in which languages."""

from core.data.assistant import Languages, Phrasings
from core.ground.workspace import Workspace
from core.models import model as models
from core.models.family import family_of, label_of, size_of
from core.models.model import Model


def origin(model: Model | None) -> dict[str, str]:
    """What an assistant made of `model` may say of itself, as choices of `Assistant`; of no model, the course's."""
    if model is None or model.demo:
        return {}
    family = family_of(model)
    if family is None:
        return {"family": "", "size": ""}
    label = label_of(model, family)
    return {"family": family.key, "base": "" if label == family.label else label.en, "size": size_of(model)}


def spoken(model: Model | None) -> Languages:
    """The languages to teach a model: those that its family speaks."""
    family = family_of(model) if model is not None else None
    return family.languages[0] if family is not None and len(family.languages) == 1 else "both"


def phrasings(model: Model | None) -> Phrasings:
    """In how many ways to ask who it is: a toy learns no more than the usual ones in its few updates."""
    return "usual" if model is None or model.toy else "all"


def model_to_teach(workspace: Workspace) -> Model | None:
    """The model that a dataset is most likely for: the newest that can be trained, before the demo model; None without any."""
    there = [model for model in models.every(workspace) if model.trainable]
    return max(there, key=lambda model: (not model.demo, model.path.lstat().st_mtime), default=None)
