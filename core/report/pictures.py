"""Charts as PNG files for the report: the loss and the machine during the run. The bundled font covers Chinese."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pylopdf_fonts_zh_cn import sans_path

from core.ground.figures import MB_OF_A_GB
from core.ground.text import Language, Text
from core.jobs.samples import Samples
from core.training.curves import average
from core.training.run import Run

COLOURS = ("#0b5ed7", "#c2571a", "#1b8a5a", "#7a4fb5", "#b83a4b")
FAINT = "#9ec5fe"


def loss_chart(points: Sequence[dict[str, Any]], path: Path, language: Language) -> Path:
    """Draw raw and smoothed loss over iterations to the PNG `path`; NaN is a gap."""
    steps = [point["iter"] for point in points]
    losses = np.array([math.nan if point["loss"] is None else point["loss"] for point in points])
    smooth = average(losses, 0.9)
    with _figure(path, (9, 4.5)) as figure:
        axes = figure.add_subplot()
        axes.plot(steps, losses, color=FAINT, linewidth=1, label=Text("原始", "raw").in_(language))
        axes.plot(steps, smooth, color=COLOURS[0], linewidth=2, label=Text("平滑", "smoothed").in_(language))
        axes.set_title(Text("训练损失", "Training loss").in_(language))
        axes.set_xlabel(Text("迭代", "iteration").in_(language))
        axes.set_ylabel(Text("损失", "loss").in_(language))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return path


def machine_chart(samples: Samples, path: Path, language: Language) -> Path:
    """Draw memory and load of each GPU over the minutes of the run; without a GPU, of the run's processes.

    GPU memory is that of the run's own processes if the driver reports it, else all that is in use.
    """
    known, cards = samples.columns(), range(len(samples.gpus))
    unknown = np.full(samples.count, np.nan)
    minutes = known["seconds"] / 60

    def used(card: int) -> np.ndarray:
        return known.get(f"gpu{card}.ours_mb", known.get(f"gpu{card}.used_mb", unknown)) / MB_OF_A_GB

    memory = {f"GPU {card}": used(card) for card in cards}
    load = {f"GPU {card}": known.get(f"gpu{card}.utilisation", unknown) for card in cards}
    if "cuda.used_mb" in known:
        memory[Text("训练程序所见", "seen by the trainer").in_(language)] = known["cuda.used_mb"] / MB_OF_A_GB
    if not cards:
        memory = {Text("训练进程", "training").in_(language): known.get("process_mb", unknown) / MB_OF_A_GB}
        load = {Text("处理器", "processor").in_(language): known.get("cpu", unknown)}
    titles = (
        (memory, Text("显存（GB）", "GPU memory (GB)") if cards else Text("内存（GB）", "memory (GB)")),
        (
            load,
            Text("显卡利用率（%）", "GPU utilization (%)")
            if cards
            else Text("处理器利用率（%）", "CPU utilization (%)"),
        ),
    )
    with _figure(path, (9, 3.6)) as figure:
        for axes, (lines, title) in zip(figure.subplots(1, 2), titles, strict=True):
            for number, (name, values) in enumerate(lines.items()):
                axes.plot(minutes, values, color=COLOURS[number % len(COLOURS)], linewidth=1.6, label=name)
            axes.set_title(title.in_(language))
            axes.set_xlabel(Text("分钟", "minutes").in_(language))
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
            axes.legend(frameon=False)
    return path


def samples_of(run: Run) -> Samples:
    """Return the samples of the machine taken during the run."""
    samples = Samples(run.telemetry)
    samples.read()
    return samples


@contextmanager
def _figure(path: Path, inches: tuple[float, float]) -> Iterator[Any]:
    """Create a figure with a font for Chinese and write it to `path` at the end. A missing glyph is an error."""
    # matplotlib is slow to import and only needed here.
    from matplotlib import font_manager, rc_context
    from matplotlib.figure import Figure

    font = font_manager.FontProperties(fname=sans_path())
    if font.get_name() not in {known.name for known in font_manager.fontManager.ttflist}:
        font_manager.fontManager.addfont(sans_path())
    with rc_context({"font.family": [font.get_name(), "DejaVu Sans"], "axes.titlesize": "medium"}):
        figure = Figure(figsize=inches, dpi=150, layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Glyph .* missing")
            figure.savefig(path)
