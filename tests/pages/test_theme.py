"""The theme is legible: every text color on every background it occurs on, light and dark (WCAG 2.1, AA)."""

import tomllib

import pytest

from core.ground.workspace import PROJECT

THEME = tomllib.loads((PROJECT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"]
# Required contrast of a text with its background; 3 is enough for large type and for non-text elements.
TEXT, LARGE = 4.5, 3.0
# Streamlit draws captions and placeholders in the text's color with this opacity.
FADED = 0.6
WHITE = "#ffffff"


def channels(colour: str) -> tuple[float, float, float]:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


def luminance(colour: tuple[float, float, float]) -> float:
    """Return the relative luminance (WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(colour: str, ground: str, opacity: float = 1.0) -> float:
    """Return the contrast ratio of `colour`, laid over `ground` with `opacity`."""
    under = channels(ground)
    over = tuple(opacity * c + (1 - opacity) * u for c, u in zip(channels(colour), under, strict=True))
    one, other = sorted((luminance(over), luminance(under)), reverse=True)
    return (one + 0.05) / (other + 0.05)


@pytest.mark.parametrize("kind", ["light", "dark"])
@pytest.mark.parametrize("ground", ["backgroundColor", "secondaryBackgroundColor"])
def test_text_and_captions(kind, ground):
    theme = THEME[kind]
    assert contrast(theme["textColor"], theme[ground]) >= 7
    assert contrast(theme["textColor"], theme[ground], FADED) >= TEXT


@pytest.mark.parametrize("kind", ["light", "dark"])
def test_the_primary_colour(kind):
    """Behind the white text of a button, and as the focus ring and the line below the selected tab."""
    theme = THEME[kind]
    assert contrast(WHITE, theme["primaryColor"]) >= TEXT
    assert contrast(theme["primaryColor"], theme["backgroundColor"]) >= LARGE
    assert contrast(theme["primaryColor"], theme["secondaryBackgroundColor"]) >= LARGE


def test_nothing_is_loaded_from_elsewhere():
    assert "http" not in (PROJECT / ".streamlit" / "config.toml").read_text(encoding="utf-8")
