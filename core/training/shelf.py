"""Name, delete and restore runs, and empty the trash. A run's id never changes.

A run with a live job is not deleted.
"""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from core.ground.errors import BadInput, WorkFailed
from core.ground.files import read_json, size_of, write_json
from core.ground.lock import locked
from core.ground.workspace import Workspace, check_name, directories_with
from core.jobs.job import jobs_in
from core.training import run as runs
from core.training.run import Run

MOST_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A run in the trash: its id, its display name, its size on disk, when it was deleted."""

    id: str
    name: str
    path: Path
    bytes: int
    when: float


def name_of(run: Run) -> str:
    """Return the display name of a run: its given name, else its id."""
    return given_name(run) or run.id


def given_name(run: Run) -> str | None:
    """Return the name that a user gave a run; None if there is none."""
    return _name_in(run.path) or None


def rename(run: Run, name: str) -> Run:
    """Set a run's display name; an empty one, or its id, removes it. Raises BadInput if the name is invalid."""
    wanted = " ".join(name.split())
    if len(wanted) > MOST_CHARACTERS or not wanted.isprintable():
        shown = ascii(wanted[:MOST_CHARACTERS])
        raise BadInput(
            f"训练的名称 {shown} 不可用：最多 {MOST_CHARACTERS} 个可显示的字符",
            f"the name {shown} is invalid for a run: use at most {MOST_CHARACTERS} printable characters",
        )
    label = run.path / "label.json"
    if wanted and wanted != run.id:
        write_json(label, {"name": wanted})
    else:
        label.unlink(missing_ok=True)
    return run


def delete(workspace: Workspace, run: Run) -> Deleted:
    """Move a run to the trash. Raises BadInput if one of its jobs is live, or it has already been deleted."""
    with locked(workspace.runs / ".lock"):
        live = next((job for job in jobs_in(run.jobs) if job.status().live), None)
        if live is not None:
            raise BadInput(
                f"训练 {run.id} 的任务 {live.name} 正在进行或排队：先停止它，再删除",
                f"{live.name} of the run {run.id} is running or queued: stop it first, then delete the run",
            )
        place = workspace.trash / run.id
        workspace.trash.mkdir(parents=True, exist_ok=True)
        if not run.path.exists() or place.exists():
            raise BadInput(
                f"训练 {run.id} 已经不在了：用 train list 查看",
                f"the run {run.id} has already been deleted: run train list",
            )
        os.rename(run.path, place)
        write_json(place / "deleted.json", {"when": time.time()})
    return _deleted(place)


def trash(workspace: Workspace) -> list[Deleted]:
    """Return the runs in the trash, last deleted first."""
    found = [_deleted(path) for path in directories_with(workspace.trash, "run.json")]
    return sorted(found, key=lambda deleted: deleted.when, reverse=True)


def restore(workspace: Workspace, run_id: str) -> Run:
    """Restore a run from the trash; `latest` is the one deleted last. Raises BadInput if it is not there."""
    with locked(workspace.runs / ".lock"):
        found = trash(workspace)
        wanted = found[0].id if run_id == "latest" and found else check_name(run_id, "训练", "run")
        deleted = next((deleted for deleted in found if deleted.id == wanted), None)
        if deleted is None:
            there = ", ".join(deleted.id for deleted in found) or "-"
            raise BadInput(
                f"回收站里没有训练 {run_id}（现有：{there}）",
                f"there is no run {run_id} in the trash (available: {there})",
            )
        if workspace.run(deleted.id).exists():
            raise BadInput(
                f"训练 {deleted.id} 已经存在，不会覆盖", f"the run {deleted.id} exists and will not be overwritten"
            )
        os.rename(deleted.path, workspace.run(deleted.id))
        (workspace.run(deleted.id) / "deleted.json").unlink(missing_ok=True)
    return runs.find(workspace, deleted.id)


def empty(workspace: Workspace) -> list[Deleted]:
    """Permanently delete what is in the trash, and return it. Raises WorkFailed."""
    with locked(workspace.runs / ".lock"):
        found = trash(workspace)
        try:
            if workspace.trash.exists():
                shutil.rmtree(workspace.trash)
        except OSError as error:
            raise WorkFailed(
                f"回收站没有清空：{error.filename}：{error.strerror}",
                f"the trash could not be emptied: {error.filename}: {error.strerror}",
            ) from error
    return found


def _deleted(path: Path) -> Deleted:
    told = read_json(path / "deleted.json") or {}
    return Deleted(
        id=path.name,
        name=_name_in(path) or path.name,
        path=path,
        bytes=size_of(path),
        when=told.get("when", path.stat().st_mtime),
    )


def _name_in(path: Path) -> str | None:
    return (read_json(path / "label.json") or {}).get("name")
