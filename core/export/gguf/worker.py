"""Writes the GGUF files of a plan and asks them: `python -m core.export.gguf.worker PLAN`, started by `conversion` as a job.

Runs in the app's own interpreter, without torch. Each file is written beside its place and renamed, so that it is there
whole or not at all; what is half written goes when the job is stopped.
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
from core.ground.errors import StudioError, WorkFailed
from core.ground.figures import size
from core.ground.files import read_json, write_json, write_text
from core.ground.progress import write_progress
from core.models.chat_template import Exchange, read, render
from core.models.packaged.package import Package

# Vocabulary and figures, at most.
_WORDS = 64 << 20
# As many bytes come to the disk, or are read by llama.cpp, in about the time of one of the other.
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
        """So much is done, of bytes that are written and asked."""
        part = min(1.0, (self.done + more) / self.whole)
        spent = time.monotonic() - self.started
        write_progress(note=note, done=part, eta_s=spent / part * (1 - part) if part > 0.02 else None)

    def check_room(self) -> None:
        """Raise WorkFailed where the disk does not hold them."""
        wanted, free = sum(self.bytes.values()) + _WORDS * len(self.bytes), shutil.disk_usage(self.merged).free
        if free < wanted:
            raise WorkFailed(
                f"磁盘空间不足：需要 {size(wanted)}，只剩 {size(free)}",
                f"not enough disk space: {size(wanted)} needed, {size(free)} free",
            )

    def prompt(self) -> Prompt:
        """How the merged model is asked, from its own files."""
        own, begins = read(self.merged), None
        if own.text and self.plan["exchanges"]:
            asked = self.plan["exchanges"][0]
            told = render(own, [Exchange(turns=[(asked["messages"][-1]["content"], None)])])[0].text
            # The first mark of a template may be the BOS itself: it stands there once, and none is put before it.
            begins = bool(told and own.bos) and told.startswith(own.bos) and not asked["text"].startswith(own.bos)
        return Prompt(chat_template=own.text, begins=begins, stops=tuple(self.plan["stops"]))

    def fetched(self) -> Path:
        """llama.cpp itself, fetched where it is not there yet."""
        place = Path(self.plan["llama_cpp"]["place"])
        package = Package(**self.plan["llama_cpp"]["package"])
        llama_cpp.prepare(package, place, lambda _count: self.tell("llama_cpp"))
        return place

    def write(self, kind: str, file: Path) -> None:
        """One file, with what was learned of it beside it."""
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
        """Ask one file what the merged model was asked."""
        place = self.fetched()
        weight = self.bytes[kind] * _ASKED
        exact = kind == "f16"
        found = verify(file, place, self.plan, exact, lambda part: self.tell("gguf_verify", weight * part))
        self.done += weight
        write_json(file.with_name("verified.json"), found)


def run(plan: dict[str, Any]) -> None:
    """Carry out a plan. Raises StudioError."""
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
    """Carry out the plan that the command line names."""
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
    os._exit(0)  # llama.cpp's threads wait for requests that nobody sends any more.
