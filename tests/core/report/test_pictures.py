"""Charts as images: with gaps in the loss, with a single sample, and with Chinese in the bundled font."""

import json

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image

from core.jobs.samples import Samples
from core.report import pictures


@pytest.mark.parametrize("losses", [[2.0, 1.5, None, 1.0], [1.0], [None, None]])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_loss_chart(tmp_path, losses, language):
    points = [{"iter": at, "loss": loss} for at, loss in enumerate(losses, 1)]
    path = pictures.loss_chart(points, tmp_path / "deep" / "loss.png", language)
    with Image.open(path) as image:
        assert image.size == (1350, 675)
        # Not an empty frame: axes and texts are drawn.
        assert np.asarray(image.convert("L")).std() > 5


@pytest.mark.parametrize("cards", [0, 1, 2])
def test_machine_chart(tmp_path, cards):
    gpu = {"name": "A100", "used_mb": 4000, "total_mb": 81920, "utilisation": None}
    lines = [
        {"t": 100.0 + 2 * n, "cpu": None if n == 0 else 50.0, "process_mb": 900, "gpus": [gpu] * cards}
        for n in range(5)
    ]
    (tmp_path / "telemetry.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    samples = Samples(tmp_path / "telemetry.jsonl")
    samples.read()
    path = pictures.machine_chart(samples, tmp_path / "machine.png", "zh")
    with Image.open(path) as image:
        assert np.asarray(image.convert("L")).std() > 5


def test_a_glyph_that_no_font_has_is_an_error_and_not_a_box(tmp_path):
    with pytest.raises(UserWarning, match="Glyph"), pictures._figure(tmp_path / "x.png", (2, 1)) as figure:
        figure.text(0, 0, "\U0001f9ff")


def test_every_chinese_word_of_the_charts_is_in_the_font():
    cmap = TTFont(pictures.sans_path()).getBestCmap()
    source = (pictures.__file__,)
    words = "".join(open(path, encoding="utf-8").read() for path in source)
    assert [c for c in set(words) if ord(c) > 0x2E80 and ord(c) not in cmap] == []
