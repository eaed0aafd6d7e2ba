"""Every path of the workspace, and the check of every name before it becomes a path.

Does not read or write the contents: that is up to the room that owns them. Opening it restricts access: see `privacy`.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from core.ground.errors import BadInput
from core.ground.ownership import name_of
from core.ground.peer import is_own
from core.ground.privacy import keep_private, narrow
from core.ground.text import Text

Found = TypeVar("Found")
PROJECT = Path(__file__).resolve().parents[2]
_NAME = re.compile(r"[^\W_][\w.-]{0,63}")
# File systems allow 255 bytes, and temporary names need some more.
_MOST_BYTES = 200
_NARROWED = Text(
    "工作目录 {path} 里的文件原来别的账号也能访问，已改为只有你自己可以访问",
    "other accounts had access to files in the workspace {path}; only you do now",
)


def check_name(name: str, what_zh: str, what_en: str) -> str:
    """Return `name` if it can be a file name: 1 to 64 letters, digits, `-`, `_`, `.`; else raise BadInput."""
    fits = _NAME.fullmatch(name) and len(name.encode()) <= _MOST_BYTES
    if not fits or ".." in name or name.endswith((".", ".partial")):
        shown = name if len(name) <= 40 else name[:40] + "…"
        raise BadInput(
            f"{what_zh}名称 {shown!r} 不可用：请用 1 到 64 个字母、汉字、数字或 - _ .，并以字母、汉字或数字开头",
            f"{what_en} name {shown!r} is invalid: use 1 to 64 letters, digits or - _ . and start with a letter or digit",
        )
    return name


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory with all of a user's work, and the paths inside it."""

    root: Path

    @classmethod
    def open(cls, root: str | Path | None = None) -> "Workspace":
        """Open the workspace at `root`, else `XTUNER_STUDIO_HOME`, else `workspace` in the project.

        Create it if missing.

        From then on, files written by this process and its children are accessible to their owner only, and so are
        existing ones. Raises BadInput if the directory cannot be created or written to, or belongs to another user.
        """
        keep_private()
        path = Path(root or os.environ.get("XTUNER_STUDIO_HOME") or PROJECT / "workspace").expanduser().absolute()
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path) as made:
                # Also works if the file system maps owners to other numbers, or has none.
                ours, owner = os.fstat(made.fileno()).st_uid, path.stat().st_uid
        except OSError as error:
            raise BadInput(
                f"工作目录 {path} 不可写（{error.strerror}）：请换一个目录（--workspace 或环境变量 XTUNER_STUDIO_HOME）",
                f"the workspace {path} cannot be written to ({error.strerror}): choose another directory with "
                "--workspace or XTUNER_STUDIO_HOME",
            ) from error
        if owner != ours and not is_own(owner):
            # Its owner could place files there that count as the user's decisions: whose code runs, with which engine.
            raise BadInput(
                f"工作目录 {path} 属于 {name_of(owner)}，对方可以在里面放上会以你的身份运行的东西：请换一个目录；"
                f"如果里面的东西你都信得过，先运行 chown -R {name_of(os.geteuid())} {path}",
                f"the workspace {path} belongs to {name_of(owner)}, who could place files there that run as you: choose another "
                f"directory, or, if you trust all that is in it, chown -R {name_of(os.geteuid())} {path} first",
            )
        workspace = cls(path)
        if narrow(path):
            print(str(_NARROWED).format(path=path), file=sys.stderr, flush=True)
            with contextlib.suppress(OSError):
                workspace.narrowed.touch()
        return workspace

    @property
    def narrowed(self) -> Path:
        """Exists until a page has reported that other accounts had access before."""
        return self.root / ".narrowed"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def configs(self) -> Path:
        return self.root / "configs"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def trash(self) -> Path:
        """Deleted runs; on the same disk, so that deleting moves no bytes."""
        return self.runs / ".trash"

    @property
    def jobs(self) -> Path:
        """Jobs outside runs: building the demo model, the demo, a chat."""
        return self.root / "jobs"

    @property
    def queue(self) -> Path:
        """The queue of runs."""
        return self.root / "queue"

    @property
    def cache(self) -> Path:
        """What can be recreated: caches of the engine's libraries, measurements."""
        return self.root / "cache"

    @property
    def settings(self) -> Path:
        """The user's choices: the engine, the models whose code may run."""
        return self.root / "settings"

    @property
    def drafts(self) -> Path:
        """Unsaved input: edits of datasets, forms."""
        return self.root / "drafts"

    @property
    def replays(self) -> Path:
        """General questions with a base model's own answers, by model."""
        return self.root / "replays"

    @property
    def conversations(self) -> Path:
        return self.root / "conversations"

    @property
    def recipes(self) -> Path:
        """The user's own recipes for configs."""
        return self.root / "recipes"

    def recipe(self, name: str) -> Path:
        return self.recipes / f"{check_name(name, '配方', 'recipe')}.json"

    def model(self, name: str) -> Path:
        return self.models / check_name(name, "模型", "model")

    def dataset(self, name: str) -> Path:
        return self.datasets / check_name(name, "数据集", "dataset")

    def config(self, name: str) -> Path:
        return self.configs / check_name(name, "配置", "config")

    def run(self, run_id: str) -> Path:
        return self.runs / check_name(run_id, "训练", "run")


def free_name(directory: Path, stem: str) -> str:
    """Return the first of `stem`, `stem-2`, `stem-3`, … that does not exist in `directory`."""
    number, name = 1, stem
    while (directory / name).exists():
        number += 1
        name = f"{stem}-{number}"
    return name


def directories_with(directory: Path, file: str) -> list[Path]:
    """Return the directories in `directory` that contain `file` and have a valid name, sorted by name.

    Omits directories that are still being written, and anything not created by the app.
    """
    return sorted(path.parent for path in directory.glob(f"*/{file}") if _NAME.fullmatch(path.parent.name))


def each_with(directory: Path, file: str, find: Callable[[str], Found]) -> list[Found]:
    """Return `find` of each of `directories_with`, without those deleted since they were listed, by another process.

    One that exists and cannot be read is still an error.
    """
    found = []
    for path in directories_with(directory, file):
        try:
            found.append(find(path.name))
        except BadInput:
            if (path / file).exists():
                raise
    return found
