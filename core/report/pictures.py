"""Charts as PNG files for the writeup, with Chinese where a font for it is found, and without where none is."""

import math
from functools import cache
from pathlib import Path
from typing import Any

from core.ground.text import Language, Text
from core.training.metrics import smoothed

_CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "SimHei",
)


@cache
def chinese_font() -> str | None:
    """The first font on this machine that has Chinese characters, None if none does."""
    from matplotlib import font_manager

    there = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in _CJK_FONTS if name in there), None)


def loss_chart(points: list[dict[str, Any]], path: Path, language: Language) -> Path:
    """Draw raw and smoothed loss over iterations to the PNG `path`."""
    # matplotlib is slow to import and wanted here alone.
    from matplotlib.figure import Figure

    font = chinese_font()
    language = language if font else "en"
    figure = Figure(figsize=(9, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    steps = [point["iter"] for point in points]
    losses = [math.nan if point["loss"] is None else point["loss"] for point in points]
    smooth = [math.nan if value is None else value for value in smoothed([point["loss"] for point in points])]
    words = {"fontfamily": font} if font else {}
    axes.plot(steps, losses, color="#9ec5fe", linewidth=1, label=Text("原始", "raw").in_(language))
    axes.plot(steps, smooth, color="#0b5ed7", linewidth=2, label=Text("平滑", "smoothed").in_(language))
    axes.set_xlabel(Text("迭代", "iteration").in_(language), **words)
    axes.set_ylabel(Text("损失", "loss").in_(language), **words)
    axes.grid(alpha=0.3)
    axes.legend(prop={"family": font} if font else None, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
