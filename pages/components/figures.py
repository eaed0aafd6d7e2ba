"""Numbers as a person reads them: durations, sizes, counts, shares. Draws nothing."""

import time

from pages.components.text import t

NONE = "–"


def duration(seconds: float | None) -> str:
    """`75` as 1 min 15 s, in the user's language."""
    if seconds is None:
        return NONE
    whole = max(0, round(seconds))
    if whole < 60:
        return t("figures.seconds", s=whole)
    if whole < 3600:
        return t("figures.minutes", m=whole // 60, s=whole % 60)
    return t("figures.hours", h=whole // 3600, m=whole % 3600 // 60)


def size(count: float | None) -> str:
    """Bytes as kB, MB or GB, in powers of ten."""
    if count is None:
        return NONE
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count:.0f} B"


def parameters(count: int) -> str:
    """Parameters as model names give them: 1.8B, 3.4M."""
    if not count:
        return NONE
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"


def share(value: float) -> str:
    """A share of 1 in percent."""
    return f"{100 * value:.0f}%"


def moment(seconds: float) -> str:
    """A time of the machine's clock: `2026-11-24 07:10`."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def number(value: float | None, form: str = ",.4g") -> str:
    """A number, or a dash where there is none."""
    return NONE if value is None else format(value, form)
