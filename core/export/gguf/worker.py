"""Creates and verifies the GGUF files of a plan: `python -m core.export.gguf.worker PLAN`, a job of `conversion`.

Runs in the app's own interpreter, without torch. Each file is written under a temporary name and renamed, so that it
exists complete or not at all; incomplete files are deleted when the job is stopped.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from core.export.gguf import llama_cpp
from core.export.gguf.families import family_of
from core.export.gguf.gguf_file import Prompt, size_of, write
from core.export.gguf.quantiser import Quantiser
from core.export.gguf.tensors import tensors_of
from core.export.gguf.verification import verify
from core.ground import garbage
from core.ground.errors import StudioError, WorkFailed
from core.ground.figures import size
from core.ground.files import read_json, write_json, write_text
from core.ground.progress import write_progress
from core.models.chat_template import Exchange, read, render
from core.models.packaged.package import Package

# Upper bound for vocabulary and hyperparameters.
_WORDS = 64 << 20
# Weight of verifying a byte in the progress, relative to writing it.
_ASKED = 2.0


class Work:
    """The files of one plan, in order, with their progress."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan, self.merged, self.started = plan, Path(plan["merged"]), time.monotonic()
        config = read_json(self.merged / "config.json")
        tensors = tensors_of(self.merged, config, family_of(config))
        self.bytes = {kind: size_of(tensors, kind) for kind in plan["files"]}
        asked = _ASKED if plan["verify"] else 0.0
        self.whole, self.done = sum(self.bytes.values()) * (1 + asked), 0.0

    def tell(self, note: str, more: float = 0.0) -> None:
        """Report the progress, by bytes written and verified."""
        part = min(1.0, (self.done + more) / self.whole)
        spent = time.monotonic() - self.started
        write_progress(note=note, done=part, eta_s=spent / part * (1 - part) if part > 0.02 else None)

    def check_room(self) -> None:
        """Raise WorkFailed if there is not enough disk space."""
        wanted, free = sum(self.bytes.values()) + _WORDS * len(self.bytes), shutil.disk_usage(self.merged).free
        if free < wanted:
            raise WorkFailed(
                f"磁盘空间不足：需要 {size(wanted)}，只剩 {size(free)}",
                f"not enough disk space: {size(wanted)} needed, {size(free)} free",
            )

    def prompt(self) -> Prompt:
        """Return how the merged model is prompted, from its own files."""
        own, begins = read(self.merged), None
        if own.text and self.plan["exchanges"]:
            asked = self.plan["exchanges"][0]
            told = render(own, [Exchange(turns=[(asked["messages"][-1]["content"], None)])])[0].text
            # The template may begin with BOS itself; it then appears once and none is added.
            begins = bool(told and own.bos) and told.startswith(own.bos) and not asked["text"].startswith(own.bos)
        return Prompt(chat_template=own.text, begins=begins, stops=tuple(self.plan["stops"]))

    def fetched(self) -> Path:
        """Return the directory of llama.cpp, downloaded if necessary."""
        place = Path(self.plan["llama_cpp"]["place"])
        package = Package(**self.plan["llama_cpp"]["package"])
        llama_cpp.prepare(package, place, lambda _count: self.tell("llama_cpp"))
        return place

    def write(self, kind: str, file: Path) -> None:
        """Write one file, with its facts and texts next to it."""
        quantiser = Quantiser(self.fetched()) if kind in llama_cpp.QUANTISED else None
        partial = file.with_name(f"{file.name}.partial")
        began, written = time.monotonic(), 0
        file.parent.mkdir(parents=True, exist_ok=True)

        def came(count: int) -> None:
            nonlocal written
            written += count
            self.tell("gguf", written)

        try:
            made = write(self.merged, partial, kind, self.prompt(), self.plan["name"], came, quantiser)
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)
        self.done += self.bytes[kind]
        for name, text in self.plan["beside"][kind].items():
            write_text(file.with_name(name), text)
        facts = {"bytes": file.stat().st_size, "seconds": time.monotonic() - began, "made": time.time()}
        write_json(file.with_name("gguf.json"), {**made, **facts, "merged": self.plan["made"], "kind": kind})
        print(f"{file.name}: {size(facts['bytes'])}, {facts['seconds']:.1f} s", flush=True)

    def ask(self, kind: str, file: Path) -> None:
        """Verify one file with the merged model's questions."""
        place = self.fetched()
        weight = self.bytes[kind] * _ASKED
        exact = kind == "f16"
        found = verify(file, place, self.plan, exact, lambda part: self.tell("gguf_verify", weight * part))
        self.done += weight
        write_json(file.with_name("verified.json"), found)


def run(plan: dict[str, Any]) -> None:
    """Execute a plan. Raises StudioError."""
    work = Work(plan)
    work.check_room()
    files = {kind: Path(file) for kind, file in plan["files"].items()}
    for kind, file in files.items():
        if plan["write"]:
            file.with_name("verified.json").unlink(missing_ok=True)
            work.write(kind, file)
    if not plan["verify"]:
        return
    for kind, file in files.items():
        work.ask(kind, file)


def main() -> None:
    """Execute the plan named on the command line."""
    garbage.resume()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped on request."))
    try:
        run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except StudioError as error:
        write_progress(note="failed", done=0.0, problem={"zh": error.text.zh, "en": error.text.en})
        print(error.text.en, flush=True)
        sys.exit(1)
    write_progress(note="done", done=1.0)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # llama.cpp's threads keep waiting for requests, so exit without joining them.
