"""Fetches a model from a hub: `python -m core.models.hub.worker PARTIAL PLACE`, started by `download` as a job.

Lists the files, fetches each through the hub's own client, which resumes truncated files, verifies each by the hub's
hash, and renames PARTIAL to PLACE when all are correct. Runs in the app's own interpreter.
"""

import hashlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.ground import garbage
from core.ground.figures import size
from core.ground.files import read_json, write_json
from core.ground.progress import write_progress
from core.models.hub.clients import HUBS, File, HubRefusal, prepare, refusal, unreachable, wanted
from core.models.hub.reach import Unreachable, guard
from core.models.weights import examine

TRIES = 4


def right(path: Path, file: File) -> bool:
    """Return whether a local file matches the hub's: its size, and its hash if the hub states one."""
    if not path.is_file() or (file.size and path.stat().st_size != file.size):
        return False
    with path.open("rb") as opened:
        if file.sha256:
            return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256
        if file.sha1:
            # Git's hash of a file: "blob SIZE\0" and the content.
            digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
            for block in iter(lambda: opened.read(1 << 20), b""):
                digest.update(block)
            return digest.hexdigest() == file.sha1
    return True


@contextmanager
def watched(partial: Path, files: list[File], now: dict[str, Any]) -> Iterator[None]:
    """Report the progress twice a second, measured on disk, which works for any client."""
    total = sum(file.size for file in files)
    over = threading.Event()
    started, first = time.time(), on_disk(partial)

    def watch() -> None:
        while True:
            there = min(total, on_disk(partial))
            rate = (there - first) / max(1e-6, time.time() - started)
            write_progress(
                note="download",
                file=now.get("file"),
                bytes=there,
                total=total,
                rate=rate,
                done=there / total if total else 0.0,
                eta_s=(total - there) / rate if rate > 0 else None,
            )
            if over.wait(0.5):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def on_disk(partial: Path) -> int:
    """Return the bytes on disk: complete files, and those still being fetched.

    Files and directories may vanish meanwhile: the hub's client deletes those that it no longer needs.
    """
    found = 0
    for place, _, files in os.walk(partial):
        for name in files:
            if not name.endswith((".metadata", ".lock", "download.json", "CACHEDIR.TAG")):
                with suppress(OSError):
                    found += os.stat(os.path.join(place, name)).st_size
    return found


def patiently(work: Callable[[], Any], progress: Callable[[], int]) -> Any:
    """Call `work`, and retry after a lost connection; the retries start over whenever bytes have arrived."""
    tried, before = 0, progress()
    while True:
        try:
            return work()
        except Exception as error:
            refused = refusal(error)
            if refused is not None:
                raise refused from error
            if progress() > before:
                tried, before = 0, progress()
            tried += 1
            if tried >= TRIES:
                raise unreachable(error) from error
            print(f"{type(error).__name__}; trying again", flush=True)
            time.sleep(min(30.0, 0.5 * 2**tried))


def fetch_all(partial: Path, source: dict[str, str], token: str | None) -> list[File]:
    """Fetch and verify every file. Raises HubRefusal."""
    write_progress(note="connect", done=0.0)
    found, fetch = patiently(lambda: HUBS[source["hub"]](source, token, partial), lambda: 0)
    files = wanted(found)
    if not any(file.path == "config.json" for file in files):
        raise HubRefusal(
            "仓库里没有 config.json，不是可以微调的模型",
            "the repository has no config.json, so it is not a model that can be fine-tuned",
        )
    missing = sum(file.size for file in files) - on_disk(partial)
    free = shutil.disk_usage(partial).free
    if missing > free:
        raise HubRefusal(
            f"磁盘空间不足：还需要 {size(missing)}，只剩 {size(free)}",
            f"not enough disk space: {size(missing)} needed, {size(free)} free",
        )
    now: dict[str, Any] = {}
    with watched(partial, files, now):
        for file in sorted(files, key=lambda file: file.size):
            now["file"], path = file.path, partial / file.path
            for attempt in (1, 2):
                if not right(path, file):
                    path.unlink(missing_ok=True)
                    patiently(lambda file=file: fetch(file), lambda: on_disk(partial))
                if right(path, file):
                    break
                if attempt == 2:
                    raise HubRefusal(
                        f"{file.path} 与校验和不符：丢弃后重新下载，或换一个来源",
                        f"{file.path} does not match its checksum: discard the download and start again, or use another source",
                    )
                # A client that takes the wrong file for a complete one would not fetch it again.
                shutil.rmtree(partial / ".cache", ignore_errors=True)
                path.unlink(missing_ok=True)
            print(f"{file.path} {file.size} {file.sha256 or file.sha1 or '-'}", flush=True)
    return files


def main() -> None:
    """Fetch the model named by `download.json` in PARTIAL."""
    garbage.resume()
    partial, place = Path(sys.argv[1]), Path(sys.argv[2])
    token = prepare(partial)
    source = read_json(partial / "download.json")
    guard(source["endpoint"])
    try:
        files = fetch_all(partial, source, token)
        problems = examine(partial)[2]
        if problems:
            first = problems[0]
            raise HubRefusal(f"{first.where}：{first.message.zh}", f"{first.where}: {first.message.en}")
    except (HubRefusal, Unreachable) as problem:
        write_progress(note="download", done=0.0, problem={"zh": problem.zh, "en": problem.en})
        print(problem.en, flush=True)
        sys.exit(1)
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    write_json(
        partial / "download.json",
        {
            **source,
            "fetched": time.time(),
            "files": [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in files],
        },
    )
    os.rename(partial, place)
    write_progress(note="done", done=1.0)


if __name__ == "__main__":
    main()
