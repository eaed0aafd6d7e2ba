"""Models from a hub: a download is a job, resumes where it stopped, and is verified before it becomes `models/<name>`.

An unfinished download is in `models/.<name>.download`, with its source in `download.json`. `worker` does the work
through the hubs' own clients. A token is passed to that process only and never stored.
"""

import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.engine.commands import module_command
from core.engine.failures.reasons import reason
from core.ground.agreed_code import DEMO
from core.ground.errors import BadInput
from core.ground.files import read_json, write_json
from core.ground.text import Text
from core.ground.workspace import Workspace
from core.jobs.job import Job, latest_job
from core.jobs.single import live, only_one, starting
from core.models.hub.reach import is_link, is_loopback

JOB = "download"
TOKEN = "XTUNER_STUDIO_TOKEN"
# For each hub its own address first, then mirrors.
ENDPOINTS = {
    "modelscope": ("https://www.modelscope.cn", "https://www.modelscope.ai"),
    "huggingface": ("https://huggingface.co", "https://hf-mirror.com"),
}
REVISIONS = {"modelscope": "master", "huggingface": "main"}
# The course's model by its name on each hub.
COURSE = {
    "modelscope": "Shanghai_AI_Laboratory/internlm2-chat-1_8b",
    "huggingface": "internlm/internlm2-chat-1_8b",
}


def is_repository(name: str) -> bool:
    """Return whether `name` is ORGANIZATION/MODEL, with nothing that is special in a path, an address or a shell."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name, re.ASCII) is not None and ".." not in name


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a model comes from."""

    hub: str
    repository: str
    revision: str
    endpoint: str

    @classmethod
    def of(cls, hub: str, repository: str, revision: str | None = None, endpoint: str | None = None) -> "Source":
        """Check the user's input. Raises BadInput that names the field."""
        if hub not in ENDPOINTS:
            raise BadInput(
                f"没有来源 {hub}：用 {'、'.join(ENDPOINTS)}", f"there is no hub {hub}: use {', '.join(ENDPOINTS)}"
            )
        repository = repository.strip().strip("/")
        if not is_repository(repository):
            raise BadInput(
                f"模型名称 {repository[:80]!r} 不可用：写成“组织/模型”，例如 {COURSE[hub]}",
                f"the model {repository[:80]!r} is invalid: write ORGANIZATION/MODEL, such as {COURSE[hub]}",
            )
        revision = (revision or "").strip() or REVISIONS[hub]
        if not re.fullmatch(r"[\w][\w./-]{0,99}", revision, re.ASCII) or ".." in revision:
            raise BadInput(f"版本 {revision[:80]!r} 不可用", f"the revision {revision[:80]!r} is invalid")
        own = os.environ.get("HF_ENDPOINT") if hub == "huggingface" else None
        return cls(
            hub=hub, repository=repository, revision=revision, endpoint=_address(endpoint or own or ENDPOINTS[hub][0])
        )

    @property
    def name(self) -> str:
        """The model's name without its organization."""
        return self.repository.rpartition("/")[2]


def start(workspace: Workspace, source: Source, name: str | None = None, token: str | None = None) -> Job:
    """Start a download, or resume one of the same source. Raises BadInput if the name is taken."""
    name = name or source.name
    place, partial = workspace.model(name), _partial(workspace, name)
    token = (token or "").strip()
    if token and not is_private(source.endpoint):
        raise BadInput(
            f"访问令牌不能经 http 发送：{source.endpoint} 请改用 https 地址",
            f"access tokens are not sent over http: give {source.endpoint} as an https address",
        )
    busy = Text(
        "已有一个下载正在进行：等它结束，或先停止它",
        "a download is in progress: wait for it to finish, or stop it first",
    )
    with only_one(workspace.jobs, JOB, busy) as begin:
        if place.exists() or place.is_symlink() or name == DEMO:
            raise BadInput(f"模型 {name} 已存在：请换一个名称", f"the model {name} already exists: choose another name")
        begun = read_json(partial / "download.json")
        if partial.exists() and begun != asdict(source):
            what = begun.get("repository", "?") if isinstance(begun, dict) else "?"
            raise BadInput(
                f"{name} 有未完成的下载（{what}）：先继续或丢弃它，或换一个名称",
                f"there is an unfinished download of {name} ({what}): resume or discard it, or choose another name",
            )
        write_json(partial / "download.json", asdict(source))
        argv = module_command("core.models.hub.worker", partial, place)
        return begin(
            argv,
            artefacts=[place / "config.json"],
            facts={"name": name, **asdict(source)},
            secrets={TOKEN: token} if token else {},
        )


def latest(workspace: Workspace) -> Job | None:
    """Return the newest download."""
    return latest_job(workspace.jobs, JOB)


def unfinished(workspace: Workspace) -> dict[str, Source]:
    """Return the downloads that are neither finished nor discarded, by model name."""
    found = {}
    for path in sorted(workspace.models.glob(".*.download")):
        begun = read_json(path / "download.json")
        if isinstance(begun, dict) and set(begun) == set(Source.__dataclass_fields__):
            found[path.name[1 : -len(".download")]] = Source(**begun)
    return found


def discard(workspace: Workspace, name: str) -> None:
    """Delete an unfinished download. Raises BadInput if it is running or does not exist."""
    workspace.model(name)
    with starting(workspace.jobs, JOB):
        running = live(workspace.jobs, JOB)
        if running and running.spec.get("facts", {}).get("name") == name:
            raise BadInput(f"{name} 正在下载：先停止它", f"{name} is being downloaded: stop it first")
        if not _partial(workspace, name).exists():
            raise BadInput(f"{name} 没有未完成的下载", f"there is no unfinished download of {name}")
        shutil.rmtree(_partial(workspace, name))


def why(job: Job) -> Text | None:
    """Return why a download failed, in the worker's own words if there are any; None if it runs or succeeded."""
    found = reason(job)
    said: Any = job.progress.get("problem")
    if found is not None and isinstance(said, dict) and not job.stopping:
        return Text(said["zh"], said["en"])
    return found


def _partial(workspace: Workspace, name: str) -> Path:
    return workspace.models / f".{name}.download"


def _address(entered: str) -> str:
    parts = urlsplit(entered.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise BadInput(
            f"地址 {entered[:80]!r} 不可用：写成 https://主机",
            f"the address {entered[:80]!r} is invalid: write https://HOST",
        )
    if is_link(parts.hostname):
        raise BadInput(
            f"地址 {entered[:80]!r} 不可用：那是本机链路或云平台的内部地址，不是下载源",
            f"the address {entered[:80]!r} cannot be used: it is a link-local or cloud metadata address, not a hub",
        )
    return entered.strip().rstrip("/")


def is_private(endpoint: str) -> bool:
    """Return whether a connection to the endpoint cannot be read on the way."""
    parts = urlsplit(endpoint)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")
