"""Convert a checkpoint to an adapter, merge it into its base model, and verify the merge; one step or several.

Runs in the engine's interpreter as `python -m core.engine.workers.export_worker STEP... --plan FILE`; never imported.
One process runs all steps, so that nothing is imported twice. Convert and merge alone do without torch and transformers
where they can (a plain adapter, float32 weights, a tokenizer that is one file), and are done again with them where they
cannot; verify always has both. Each result is written to a temporary directory and renamed, its config last: it is there completely or not at all.

The plan (JSON): `kind` ("lora" or "full"), the paths `checkpoint`, `base`, `adapter`, `merged`, `results`, `config`,
`dtype` and `shard_bytes` (null: same as the base model), `base_fingerprint` and `trained_on`, `prompts`, `stop_words`,
`prompt` (what is published of it, see `published`), `card` (text for README.md) and `facts` (stored with the result).
"""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from core.engine.workers.export_progress import Progress
from core.engine.workers.export_steps import Export
from core.engine.workers.unneeded import leave_out, leave_out_compiler, or_whole, without_engine
from core.ground import garbage
from core.ground.files import write_json

STEPS = ("convert", "merge", "verify")


def _done(work: Export, step: str, *, alone: bool) -> "dict[str, Any]":
    """Run a step; `alone` if it may do without the engine's libraries."""
    if alone:
        try:
            with without_engine():
                return getattr(work, step)()
        except ImportError:
            work.overflowed.clear()
    _open_engine()
    with or_whole():
        return getattr(work, step)()


def _open_engine() -> None:
    """Import the engine's libraries, restricted in what they load."""
    if "torch" in sys.modules:
        return
    leave_out(sys.argv[1:])
    leave_out_compiler()
    from core.engine.workers import code_gate, torch_files

    torch_files.guard()
    code_gate.close()
    garbage.resume()


def main() -> None:
    """Run the steps named on the command line, in order; each result is written to `STEP.json` in `results`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("steps", nargs="+", choices=STEPS)
    parser.add_argument("--plan", type=Path, required=True)
    options = parser.parse_args()
    plan = json.loads(options.plan.read_text(encoding="utf-8"))
    results = Path(plan["results"])
    results.mkdir(parents=True, exist_ok=True)
    # On a stop request, partial output is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped on request."))
    steps = [step for step in STEPS if step in options.steps]
    progress = Progress(steps)
    garbage.resume()
    work = Export(plan, progress)
    try:
        for step in steps:
            progress.begin(step)
            started = time.time()
            try:
                found = _done(work, step, alone="verify" not in steps)
            except ValueError as error:
                sys.exit(str(error))
            write_json(results / f"{step}.json", {**found, "seconds": time.time() - started, "made": time.time()})
        progress.tell(1.0, force=True)
    finally:
        for out in (work.adapter, work.merged):
            shutil.rmtree(out.with_name(out.name + ".partial"), ignore_errors=True)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # Tearing down torch takes most of a second, and the process ends anyway.
