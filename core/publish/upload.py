"""Uploads a package to a hub: first shows what would be sent, then sends it as a job through the hub's own client.

A token is passed to that job only and never stored. OpenXLab's own client no longer exists: there, git is used.
"""

from dataclasses import dataclass
from typing import Any

from core.engine.commands import module_command
from core.ground.errors import BadInput
from core.ground.files import write_json
from core.ground.text import Text
from core.jobs.job import Job, latest_job
from core.jobs.single import only_one
from core.models.hub.download import ENDPOINTS, TOKEN, Source, is_private, is_repository
from core.publish.card import push_lines
from core.publish.package import Package, Target
from core.training.run import Run

JOB = "upload"
# Environment variables in which each hub's own tools look for a token.
TOKEN_VARIABLES = {"huggingface": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be sent where: the files with their sizes, and the equivalent git commands."""

    target: Target
    repository: str
    endpoint: str | None
    private: bool
    files: list[dict[str, Any]]
    by_git: list[str]

    @property
    def bytes(self) -> int:
        return sum(file["bytes"] for file in self.files)

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "repository": self.repository,
            "endpoint": self.endpoint,
            "private": self.private,
            "bytes": self.bytes,
            "files": self.files,
            "by_git": self.by_git,
        }


def plan(
    package: Package, target: Target, repository: str, *, private: bool = False, endpoint: str | None = None
) -> Plan:
    """Return what an upload of `package` would do; sends nothing. Raises BadInput for an invalid repository."""
    address = None
    if target in TOKEN_VARIABLES:
        # The hub itself, never a mirror for downloads: a token with write permission must only go there.
        source = Source.of(target, repository, endpoint=endpoint or ENDPOINTS[target][0])
        repository, address = source.repository, source.endpoint
    elif not is_repository(repository):
        # It becomes part of commands that users paste into a shell.
        shown = repository[:80]
        raise BadInput(
            f"仓库 {shown!r} 不可用：写成“用户/仓库”", f"the repository {shown!r} is invalid: write USER/NAME"
        )
    files = [{"path": name, "bytes": (package.path / name).stat().st_size} for name in package.files]
    return Plan(
        target=target,
        repository=repository,
        endpoint=address,
        private=private,
        files=files,
        by_git=[line.replace("USERNAME/REPOSITORY", repository) for line in push_lines(target)],
    )


def start(run: Run, package: Package, chosen: Plan, token: str) -> Job:
    """Send the package as a job; if started again, it resumes. Raises BadInput without a token or a client."""
    if chosen.endpoint is None:
        raise BadInput(
            "OpenXLab 没有可用的上传工具：请按显示的 git 命令推送",
            "OpenXLab no longer has an upload client: push with git as shown",
        )
    if not token.strip():
        raise BadInput(
            f"需要 {chosen.target} 的访问令牌（写权限）：在它的网站上生成，填在这里或放进环境变量 "
            f"{TOKEN_VARIABLES[chosen.target]}",
            f"{chosen.target} requires an access token with write permission: create one on its site and enter it here or in the environment variable {TOKEN_VARIABLES[chosen.target]}",
        )
    if not is_private(chosen.endpoint):
        raise BadInput(
            "访问令牌不能经 http 发送：请用 https 地址", "access tokens are not sent over http: give an https address"
        )
    with only_one(run.jobs, JOB, Text("已有一个上传正在进行", "an upload is already in progress")) as begin:
        write_json(run.path / "upload.json", {"package": str(package.path), **chosen.to_json()})
        return begin(
            module_command("core.publish.upload_worker", run.path / "upload.json"),
            facts={"target": chosen.target, "repository": chosen.repository},
            secrets={TOKEN: token.strip()},
        )


def address(target: str, repository: str) -> str:
    """Return the web address of the uploaded model."""
    sites = {
        "huggingface": f"https://huggingface.co/{repository}",
        "modelscope": f"https://www.modelscope.cn/models/{repository}",
        "openxlab": f"https://openxlab.org.cn/models/detail/{repository}",
    }
    return sites[target]


def latest(run: Run) -> Job | None:
    """Return the newest upload of a run."""
    return latest_job(run.jobs, JOB)
