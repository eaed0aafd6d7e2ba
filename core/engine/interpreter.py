"""Which Python the engine runs in: the app's own, or the user's, such as a conda environment with XTuner.

    XTUNER_STUDIO_ENGINE    an interpreter, for this process and its children; takes precedence
    settings/engine.json    the workspace's choice;  the app's own if neither is set

The app itself always stays in its own. An interpreter that another account could change is never run: it would run with
our rights. Queries an interpreter by running `inspect_worker` in it, and caches the answer until its packages change;
loads none of its packages. Whether it is usable is for `checkup`.
"""

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.engine import presets
from core.engine.ask import answer_of
from core.ground import environment
from core.ground.errors import BadInput
from core.ground.files import read_json, write_json
from core.ground.ownership import Exposed, exposed
from core.ground.text import Text
from core.ground.workspace import PROJECT, Workspace

ENVIRONMENT = "XTUNER_STUDIO_ENGINE"
OWN = "own"
WORKER = PROJECT / "core" / "engine" / "workers" / "inspect_worker.py"
LOOK_SECONDS = 60.0
# An interpreter that failed is not queried again on every page draw.
REFUSED_SECONDS = 20.0
_REFUSED: dict[str, tuple[BadInput, float]] = {}
# Releases with the course's command line: `xtuner train / convert / chat`.
OLDEST, NEWEST = (0, 1, 21), (0, 2, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An interpreter and its contents: package versions, the location of xtuner, the CUDA version of torch."""

    python: str
    own: bool
    versions: Mapping[str, str | None]
    xtuner: Path | None
    torch_cuda: str | None
    site: Path

    @property
    def stamp(self) -> str:
        """Changes when packages are installed or removed."""
        return f"{_mtime(self.site)}:{sorted(self.versions.items())}"

    def to_json(self) -> dict[str, Any]:
        return {
            "python": self.python,
            "own": self.own,
            "versions": dict(self.versions),
            "xtuner": str(self.xtuner) if self.xtuner else None,
            "torch_cuda": self.torch_cuda,
        }


def python(workspace: Workspace) -> str:
    """Return the interpreter in use. Raises BadInput if the chosen one is gone, or others could change it."""
    chosen = os.environ.get(ENVIRONMENT) or (read_json(_settings(workspace)) or {}).get("python")
    if not chosen or chosen == OWN:
        return sys.executable
    place = interpreter_at(chosen)
    if place is None:
        where = ENVIRONMENT if os.environ.get(ENVIRONMENT) else _settings(workspace)
        raise BadInput(
            f"训练引擎的 Python {chosen} 不存在或不能运行（来自 {where}）：用 engine use 另选一个，或 engine use own 用自带的",
            f"the engine's Python {chosen} does not exist or cannot be run (from {where}): choose another with engine use, or run engine use own for the app's own",
        )
    _refuse_exposed(place)
    return place


def in_use(workspace: Workspace) -> Engine:
    """Return the engine in use. Raises BadInput if the chosen one is gone or is not a Python."""
    return look(workspace, python(workspace))


def look(workspace: Workspace, chosen: str) -> Engine:
    """Inspect the interpreter `chosen`; cached until its packages change. Raises BadInput."""
    kept = _facts_file(workspace, chosen)
    facts = read_json(kept)
    if not isinstance(facts, dict) or facts.get("mtime") != _mtime(Path(facts["site"])):
        refused, until = _REFUSED.get(chosen, (None, 0.0))
        if refused and time.monotonic() < until:
            raise refused.with_traceback(None)
        try:
            facts = _ask(chosen)
        except BadInput as error:
            _REFUSED[chosen] = error, time.monotonic() + REFUSED_SECONDS
            raise
        facts["mtime"] = _mtime(Path(facts["site"]))
        write_json(kept, facts)
    return Engine(
        python=chosen,
        own=chosen == sys.executable,
        versions=facts["versions"],
        xtuner=Path(facts["xtuner"]) if facts["xtuner"] else None,
        torch_cuda=facts["torch_cuda"],
        site=Path(facts["site"]),
    )


def versions(workspace: Workspace) -> dict[str, str | None]:
    """Return the package versions in use: the engine's, and the app's where the engine lacks the package."""
    own = environment.versions()
    if python(workspace) == sys.executable:
        return own
    return own | {package: version for package, version in in_use(workspace).versions.items() if version}


def xtuner_directory(workspace: Workspace) -> Path:
    """Return the xtuner directory of the engine in use, which has the presets to start from. Raises StudioError."""
    if python(workspace) == sys.executable:
        return presets.xtuner_directory()
    found = in_use(workspace)
    if found.xtuner is None:
        raise BadInput(f"{found.python}：没有安装 xtuner", f"{found.python}: xtuner is not installed")
    return found.xtuner


def candidate(workspace: Workspace, entered: str | Path) -> Engine:
    """Return the engine at an interpreter or environment that a user enters.

    Raises BadInput if XTuner is not in it, or others could change it.
    """
    text = str(entered).strip()
    if text == OWN:
        return look(workspace, sys.executable)
    place = interpreter_at(text) if text else None
    if place is None:
        raise BadInput(
            f"{text or '路径'} 不是 Python 解释器，也不是带 bin/python 的环境目录：例如 /root/.conda/envs/xtuner0121/bin/python",
            f"{text or 'the path'} is neither a Python interpreter nor an environment with bin/python: e.g. "
            "/root/.conda/envs/xtuner0121/bin/python",
        )
    # Checked before it is first run.
    _refuse_exposed(place)
    _REFUSED.pop(place, None)
    found = look(workspace, place)
    why = unfit(found)
    if why is not None:
        raise BadInput(f"{place}：{why.zh}", f"{place}: {why.en}")
    return found


def unfit(engine: Engine) -> Text | None:
    """Return why an engine cannot be used, judged by its versions alone; None if it can."""
    version = engine.versions.get("xtuner")
    if version is None or engine.xtuner is None:
        return Text(
            "没有安装 xtuner：在这个环境里按课程安装，或换一个",
            "xtuner is not installed: install it there as in the course, or choose another",
        )
    numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:3] if part.isdigit())
    if not OLDEST <= numbers <= NEWEST:
        return Text(
            f"xtuner {version} 不受支持：需要 0.1.21 到 0.2.0（1.x 是另一个引擎，没有课程的命令）",
            f"xtuner {version} is not supported: 0.1.21 to 0.2.0 is required (1.x is a different engine without the course's commands)",
        )
    if engine.versions.get("torch") is None:
        return Text("没有安装 torch", "torch is not installed")
    return None


def use(workspace: Workspace, engine: Engine) -> None:
    """Make `engine` the workspace's. Without a choice it is the app's own."""
    if engine.own:
        _settings(workspace).unlink(missing_ok=True)
    else:
        write_json(_settings(workspace), {"python": engine.python, "chosen": time.time()})


def chosen_by_environment() -> bool:
    """Return whether `XTUNER_STUDIO_ENGINE` decides, so that a choice here has no effect."""
    return bool(os.environ.get(ENVIRONMENT))


def interpreter_at(entered: str) -> str | None:
    """Return the interpreter at a path: the file itself, or `bin/python` of an environment; None for neither.

    Links are not resolved: a virtual environment is identified by its link.
    """
    place = Path(os.path.abspath(Path(entered).expanduser()))
    for path in (place, place / "bin" / "python", place / "bin" / "python3"):
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return str(path)
    return None


def nearby() -> list[str]:
    """Return the interpreters of this machine's conda and virtual environments that have xtuner, to choose from."""
    home = Path.home()
    roots = {home / ".conda" / "envs", home / ".virtualenvs", Path("/opt/conda/envs"), Path("/root/.conda/envs")}
    roots |= {home / name / "envs" for name in ("miniconda3", "anaconda3", "miniforge3", "mambaforge")}
    places = []
    # Directories that we may not read, such as /root, are skipped.
    for root in sorted(roots):
        with contextlib.suppress(OSError):
            places += sorted(root.iterdir())
    with contextlib.suppress(OSError):
        listed = (home / ".conda" / "environments.txt").read_text(encoding="utf-8", errors="replace")
        places += [Path(line) for line in listed.splitlines() if line]
    found = dict.fromkeys(
        str(place / "bin" / "python")
        for place in places
        if os.path.exists(place / "bin" / "python") and any(place.glob("lib/python3*/site-packages/xtuner-*"))
    )
    return [place for place in found if _exposed(place) is None]


def _refuse_exposed(place: str) -> None:
    why = _exposed(place) if place != sys.executable else None
    if why is not None:
        raise BadInput(
            f"不能用 {place} 作训练引擎：{why.text.zh}", f"{place} cannot be used as the engine: {why.text.en}"
        )


def _exposed(place: str) -> Exposed | None:
    """Return what others could change: the interpreter, the environment's settings or its module directories."""
    parts = [Path(place)]
    # A virtual environment, and the installation that its interpreter links to.
    for root in dict.fromkeys((Path(place).parent.parent, Path(os.path.realpath(place)).parent.parent)):
        parts += [
            root / "pyvenv.cfg",
            *sorted(root.glob("lib*/python3*")),
            *sorted(root.glob("lib*/python3*/site-packages")),
        ]
    return next((found for part in parts if (found := exposed(part))), None)


def _ask(chosen: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        result = Path(directory) / "found.json"
        answer = answer_of([chosen, str(WORKER), str(result)], seconds=LOOK_SECONDS, result=result)
    if not isinstance(answer.content, dict):
        raise BadInput(
            f"{chosen} 不能作为 Python 运行（{answer.said}）：请填写 Python 解释器的路径",
            f"{chosen} is not a working Python interpreter ({answer.said}): enter the path of a Python interpreter",
        )
    return answer.content


def _settings(workspace: Workspace) -> Path:
    return workspace.settings / "engine.json"


def _facts_file(workspace: Workspace, chosen: str) -> Path:
    return workspace.cache / "engines" / f"{hashlib.sha256(chosen.encode()).hexdigest()[:16]}.json"


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
