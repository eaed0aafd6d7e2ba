"""The defaults for a run of a config: early stopping, and keeping the base model's answers. Starts nothing."""

from core.config import config as configs
from core.config import keeping
from core.data import dataset as datasets
from core.engine.cluster import Cluster
from core.ground.errors import BadInput
from core.ground.workspace import Workspace
from core.models import model as models
from core.training import early_stop


def ends_early(workspace: Workspace, config_name: str) -> bool:
    """Return whether a run of this config on this machine stops early by default; False if something is missing."""
    parts = _parts(workspace, config_name)
    return parts is not None and early_stop.usual(*parts, Cluster(), None)


def keeps(workspace: Workspace, config_name: str) -> bool | None:
    """Return whether a run of this config keeps the base model's answers by default; None if it cannot."""
    parts = _parts(workspace, config_name)
    if parts is None or not keeping.has_adapter(parts[0].values()):
        return None
    return keeping.usual(parts[0].values(), *parts[1:])


def _parts(workspace: Workspace, config_name: str) -> tuple[configs.Config, datasets.Dataset, models.Model] | None:
    """Return a config, its dataset and its model; None if one is missing."""
    try:
        config = configs.find(workspace, config_name)
        return config, datasets.find(workspace, config.dataset), models.find(workspace, config.model)
    except BadInput:
        return None
