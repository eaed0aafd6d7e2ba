"""Skip what mmengine does before a training on text and nobody looks at: most of the time between imports and training.

Part of `entry`, in the engine's interpreter. mmengine formats the same config four times as source code, prepares a
figure to draw images in, and for each layer of the model looks again whether mmcv is installed (see `unneeded`). The
config that it writes has the same content, one setting a line. Changes nothing of the training.
"""

from typing import Any


class Undrawn:
    """Stands for a figure that nothing is drawn in."""

    def get_dpi(self) -> float:
        """Return matplotlib's default."""
        return 100.0


def leave_out_formalities(text: str) -> None:
    """Write configs unformatted; prepare no figure unless the config's `text` sets a visualizer of its own."""
    from mmengine.config import config

    config.FormatCode = as_it_is
    if not draws(text):
        from mmengine.visualization import Visualizer

        Visualizer._initialize_fig = lambda _self, _settings: (None, Undrawn(), None)


def as_it_is(text: str, **_: Any) -> "tuple[str, bool]":
    """Replace yapf's `FormatCode`."""
    return text, False


def draws(text: str) -> bool:
    """Return whether a config may draw: XTuner's presets have `visualizer = None`, at most with backends for curves."""
    return "VisualizationHook" in text or "add_image" in text or "draw_" in text
