"""The hubs' own clients: list the files of a repository, fetch one, recognize a refusal.

Imported by `worker` only, after `prepare`. Verifies and stores no file itself.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Files that nobody needs for training, and other forms of the same weights.
_LEFT_OUT = (".gitattributes", ".gitignore")
_OTHER_FORMS = (".bin", ".h5", ".msgpack", ".onnx", ".gguf", ".pt", ".pth", ".ckpt")
_CONNECT_SECONDS = "30"


class HubRefusal(Exception):
    """What went wrong, in both languages."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.zh, self.en = zh, en


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a repository. `sha256` is given for large files, git's `sha1` for small ones; either may be unknown."""

    path: str
    size: int
    sha256: str | None = None
    sha1: str | None = None


def prepare(partial: Path) -> str | None:
    """Set up the clients' environment before importing them; return the token, which no child process may inherit."""
    keep = partial / ".cache"
    os.environ.update(
        {
            # The clients' own files stay with the download and are deleted with it; no stored token is read or sent.
            "HF_HOME": str(keep / "huggingface"),
            "MODELSCOPE_CACHE": str(keep / "modelscope"),
            "MODELSCOPE_HOME": str(keep / "modelscope"),
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            # Mirrors do not have it, and plain files resume at the byte.
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": _CONNECT_SECONDS,
            "HF_HUB_ETAG_TIMEOUT": _CONNECT_SECONDS,
            # It would ask other hosts for our location.
            "MODELSCOPE_DOWNLOAD_INTRA_CLOUD": "0",
        }
    )
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODELSCOPE_API_TOKEN"):
        os.environ.pop(name, None)
    return os.environ.pop("XTUNER_STUDIO_TOKEN", None)


def huggingface(source: dict[str, str], token: str | None, partial: Path) -> tuple[list[File], Callable[[File], Any]]:
    """Return the files of a repository on Hugging Face or a mirror, and a function that fetches one."""
    from huggingface_hub import HfApi, constants, hf_hub_download

    # The default writes 10 MB at a time: minutes without progress on a slow line, lost if the connection breaks.
    constants.DOWNLOAD_CHUNK_SIZE = 1 << 18
    options = {"revision": source["revision"], "token": token or False}
    api = HfApi(endpoint=source["endpoint"], token=token or False)
    found = api.model_info(source["repository"], revision=source["revision"], files_metadata=True)
    files = [
        File(
            path=sibling.rfilename,
            size=(sibling.lfs.size if sibling.lfs else sibling.size) or 0,
            sha256=sibling.lfs.sha256 if sibling.lfs else None,
            sha1=None if sibling.lfs else sibling.blob_id,
        )
        for sibling in found.siblings or []
    ]

    def fetch(file: File) -> None:
        hf_hub_download(source["repository"], file.path, local_dir=partial, endpoint=source["endpoint"], **options)

    return files, fetch


def modelscope(source: dict[str, str], token: str | None, partial: Path) -> tuple[list[File], Callable[[File], Any]]:
    """Return the files of a repository on ModelScope, and a function that fetches one."""
    from modelscope_hub import HubApi

    api = HubApi(endpoint=source["endpoint"], token=token or "")
    files = [
        File(path=found.path, size=found.size or 0, sha256=found.sha256 or None)
        for found in api.list_repo_files(source["repository"], "model", revision=source["revision"])
        if found.type != "tree"
    ]

    def fetch(file: File) -> None:
        api.download_file(
            source["repository"],
            "model",
            file.path,
            revision=source["revision"],
            local_dir=partial,
            file_size=file.size or None,
            expected_sha256=file.sha256,
        )

    return files, fetch


HUBS = {"huggingface": huggingface, "modelscope": modelscope}


def wanted(files: list[File]) -> list[File]:
    """Return the files needed for training. Raises HubRefusal for a name that points outside the directory."""
    for file in files:
        if file.path.startswith("/") or ".." in Path(file.path).parts:
            raise HubRefusal(
                f"仓库里有不安全的文件名 {file.path!r}", f"the repository has an unsafe file name {file.path!r}"
            )
    safe = any(file.path.endswith(".safetensors") for file in files)
    return [
        file
        for file in files
        if file.path not in _LEFT_OUT
        and not file.path.startswith(".cache/")
        and file.path != "download.json"
        and not (safe and file.path.endswith((*_OTHER_FORMS, ".bin.index.json")))
    ]


def refusal(error: Exception) -> HubRefusal | None:
    """Return the hub's refusal, which no retry can fix; None for any other error."""
    answer = getattr(error, "response", None)
    code = getattr(answer, "status_code", None) or getattr(error, "status_code", None)
    name = type(error).__name__
    if code in (401, 403) or "Gated" in name or "Auth" in name:
        return HubRefusal(
            "没有访问权限：模型需要令牌，或令牌无效，或要先在网站上同意它的许可",
            "no access: the model needs a valid access token, or its license must be accepted on the site first",
        )
    if code == 404 or "NotFound" in name or "NotExist" in name:
        return HubRefusal(
            "没有找到这个模型或版本：检查名称、版本和来源",
            "model or revision not found: check the name, the revision and the hub",
        )
    if isinstance(error, OSError) and error.errno == 28:
        return HubRefusal("磁盘已满：清理后继续下载", "the disk is full: free some space and resume the download")
    if "Integrity" in name or "SizeMismatch" in name:
        return HubRefusal(
            "下载的文件与校验和不符：丢弃后重新下载，或换一个来源",
            "a file does not match its checksum: discard the download and start again, or use another source",
        )
    return None


def unreachable(error: Exception) -> HubRefusal:
    name = type(error).__name__
    return HubRefusal(
        f"连接中断或连不上（{name}）：检查网络，或换一个镜像，然后继续，已下载的部分会保留",
        f"no connection, or the connection was lost ({name}): check the network or choose a mirror, then resume; downloaded data is kept",
    )
