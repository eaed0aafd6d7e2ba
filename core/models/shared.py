"""Finds models already on this machine: the course's shared copies and hub caches. Only lists them; links nothing.

Uses `os.path`, which reports a directory that may not be entered, such as /root for another user, as missing.
`XTUNER_STUDIO_MODELS` names additional directories to search, separated by colons.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

COURSE_MODEL = "Shanghai_AI_Laboratory/internlm2-chat-1_8b"
MOST = 60
# Where the course's machines keep shared models, as ORGANIZATION/MODEL or MODEL.
_ROOTS = (
    "/root/share/new_models",
    "/share/new_models",
    "/root/share/model_repos",
    "/share/model_repos",
    "/root/share",
    "/share",
    "/root/InternLM/XTuner",
    "/root/models",
    "/root/model",
    "~/.cache/modelscope/hub/models",
    "~/.cache/modelscope/hub",
)


def roots() -> list[Path]:
    """Return the existing directories to search."""
    more = os.environ.get("XTUNER_STUDIO_MODELS", "").split(os.pathsep)
    found = dict.fromkeys(Path(root).expanduser() for root in (*more, *_ROOTS) if root)
    return [root for root in found if os.path.isdir(root)]


def on_this_machine() -> list[Path]:
    """Return directories with a model's config.json, the course's first; one reachable by two paths appears once."""
    found: dict[Path, Path] = {}
    for path in _candidates():
        if len(found) >= MOST:
            break
        if os.path.isfile(path / "config.json"):
            found.setdefault(path.resolve(), path)
    course = COURSE_MODEL.rpartition("/")[2]
    return sorted(found.values(), key=lambda path: (path.name != course, "internlm2" not in path.name, str(path)))


def named(name: str) -> Path | None:
    """Return the shared copy of the model with this name on a hub, such as the course's; None if there is none."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or ".." in name:
        return None
    organisation, model = name.split("/")
    for root in roots():
        for path in (root / organisation / model, root / model):
            if os.path.isfile(path / "config.json"):
                return path
    return next((path for path in on_this_machine() if path.name == model), None)


def _candidates() -> Iterator[Path]:
    for root in roots():
        for path in _directories(root):
            yield path
            yield from _directories(path)
    hub = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser() / "hub"
    for repository in _directories(hub):
        yield from _directories(repository / "snapshots")


def _directories(path: Path) -> list[Path]:
    """Return the subdirectories of a directory; empty if it cannot be read."""
    try:
        entries = sorted(path.iterdir())
    except OSError:
        return []
    return [entry for entry in entries if not entry.name.startswith(".") and os.path.isdir(entry)][:200]
