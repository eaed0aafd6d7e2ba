"""Formatting of quantities: bytes, seconds, counts, shares. Used by all pages, messages, commands and reports.

A kB is 1024 bytes, an MB 1024 kB and a GB 1024 MB, for memory and disks alike. nvidia-smi, XTuner's log, `df -h` and
`ls -lh` count the same way, and so are GPUs sold: 8192 MiB of the course's machine are its 8 GB. Only values passed to
other programs as they write them (`--max-shard-size 2GB`), or quoted from them, keep their units, mostly powers of ten.

Standard library only, for workers too. Knows no language: where words are needed it returns a `Text`.
"""

import time

from core.ground.text import Text

NONE = "–"
MB, GB = 2**20, 2**30
# For charts, whose axes are in GB.
MB_OF_A_GB = GB // MB


def size(count: float | None) -> str:
    """Return bytes with at most one decimal: `8 GB`, `7.9 GB`, `512 B`."""
    if count is None:
        return NONE
    value, unit = round(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        # A value that rounds to 1024 takes the next unit.
        if round(value, 1) < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def size_of_mb(count: float | None) -> str:
    """Return a memory size given in MB, the unit of the driver, XTuner's log and our samples: `6234` as 6.1 GB."""
    return NONE if count is None else size(count * MB)


def duration(seconds: float | None) -> Text:
    """Return seconds as text: `75` as 1 min 15 s."""
    if seconds is None:
        return Text(NONE, NONE)
    whole = max(0, round(seconds))
    if whole == 0 and seconds > 0:
        return Text("不到 1 秒", "under 1 s")
    if whole < 60:
        return Text(f"{whole} 秒", f"{whole} s")
    if whole < 3600:
        return Text(f"{whole // 60} 分 {whole % 60} 秒", f"{whole // 60} min {whole % 60} s")
    hours, minutes = whole // 3600, whole % 3600 // 60
    return Text(f"{hours} 小时 {minutes} 分", f"{hours} h {minutes} min")


def parameters(count: int) -> str:
    """Return a parameter count as in model names, in powers of ten: 1.8B, 3.4M."""
    if not count:
        return NONE
    return f"{count / 1e9:.1f}B" if count >= 999.95e6 else f"{count / 1e6:.1f}M"


def share(value: float | None) -> str:
    """Return a fraction in percent: `0.29` as 29%."""
    return NONE if value is None else f"{100 * value:.0f}%"


def number(value: float | None, form: str = ",.4g") -> str:
    """Return a formatted number, or a dash for None."""
    return NONE if value is None else format(value, form)


def moment(seconds: float) -> str:
    """Return a local time: `2026-11-24 07:10`."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
