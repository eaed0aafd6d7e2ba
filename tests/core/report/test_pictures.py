"""The loss as a picture, also where it has gaps, and where no font has Chinese."""

import pytest

from core.report import pictures


@pytest.mark.parametrize(
    ("font", "losses"), [("as it is", [2.0, 1.5, None, 1.0]), (None, [1.0]), ("as it is", [None, None])]
)
def test_loss_chart(tmp_path, monkeypatch, font, losses):
    if font is None:
        monkeypatch.setattr(pictures, "chinese_font", lambda: None)
    points = [{"iter": at, "loss": loss} for at, loss in enumerate(losses, 1)]
    path = pictures.loss_chart(points, tmp_path / "deep" / "loss.png", "zh")
    assert path.read_bytes().startswith(b"\x89PNG")
