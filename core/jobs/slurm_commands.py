"""Runs Slurm's own commands, and remembers for all jobs since when Slurm has not answered. Does not know what it is asked."""

import os
import subprocess
import time

from core.ground.errors import BadInput
from core.ground.inherited import inherited

ANSWER_SECONDS, SILENT_SECONDS = 5.0, 30.0
# What a user sets for every job. The other variables of Slurm's are left out: those of an allocation in which the app
# itself may run would count as options.
_SETTINGS = ("ACCOUNT", "PARTITION", "QOS", "RESERVATION", "CONSTRAINT")
_OURS = ("SLURM_CONF", "SLURM_JWT", *(f"SBATCH_{name}" for name in _SETTINGS))
_SILENT = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Connection timed out",
)
# Since when it has not answered, and when that was last seen, by the wall clock; for this process.
_silence: tuple[float, float] | None = None


class NoAnswer(BadInput):
    """Slurm did not answer: what it was asked to do may have been done."""


def silent_since() -> float | None:
    """Return since when Slurm has not answered, if that was seen so recently that it need not be asked again."""
    recent = _silence is not None and abs(time.time() - _silence[1]) < SILENT_SECONDS
    return _silence[0] if _silence and recent else None


def said(*argv: str, seconds: float = ANSWER_SECONDS, as_srun: bool = False) -> str:
    """Run one of Slurm's commands and return its output. Raises NoAnswer, or BadInput with its words if it fails.

    `as_srun`: with the settings that srun would read, under sbatch's names.
    """
    global _silence
    environment = _environment(as_srun)
    try:
        done = subprocess.run(
            argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=seconds, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise BadInput(
            f"这台机器上没有 {argv[0]}：在 Slurm 的登录节点上启动",
            f"there is no {argv[0]} on this machine: start on a Slurm login node",
        ) from None
    except subprocess.TimeoutExpired:
        _note_silence()
        raise NoAnswer(
            f"Slurm 在 {seconds:.0f} 秒内没有应答（{argv[0]}）：稍后再试",
            f"Slurm did not answer {argv[0]} within {seconds:.0f} s: try again later",
        ) from None
    if done.returncode == 0:
        _silence = None
        return done.stdout.strip()
    words = " ".join((done.stderr or done.stdout).split())[:500]
    if any(sign in words for sign in _SILENT):
        _note_silence()
        raise NoAnswer(f"Slurm 没有应答：{words}", f"Slurm did not answer: {words}")
    _silence = None
    raise BadInput(f"Slurm 拒绝了：{words}", f"Slurm refused: {words}")


def _note_silence() -> None:
    global _silence
    now = time.time()
    _silence = (_silence[0] if _silence else now, now)


def _environment(as_srun: bool) -> dict[str, str]:
    """Return the environment of Slurm's commands alone, its token included."""
    kept = {name: value for name, value in inherited().items() if not name.startswith("SLURM_")}
    kept |= {name: os.environ[name] for name in _OURS if name in os.environ}
    if as_srun:
        for name in _SETTINGS:
            kept.pop(f"SBATCH_{name}", None)
            if f"SLURM_{name}" in os.environ:
                kept[f"SBATCH_{name}"] = os.environ[f"SLURM_{name}"]
    return kept
