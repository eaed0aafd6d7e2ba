"""GGUF files of a run's merged model: starts their creation as a job and lists those that exist.

  gguf/<kind>/   <run>-<kind>.gguf, Modelfile, README.md; gguf.json (how it was made), verified.json (what llama.cpp said)

`worker` does the work.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.engine.commands import module_command
from core.engine.failures.finish import finish_job
from core.engine.failures.reasons import reason
from core.export.export import exported
from core.export.gguf import KINDS, llama_cpp
from core.export.gguf.families import refusal
from core.export.gguf.modelfile import first_question, modelfile, name_of, readme
from core.export.prompt import exchanges, talks
from core.ground.errors import BadInput
from core.ground.files import read_json, write_json
from core.ground.text import Text
from core.ground.workspace import Workspace
from core.jobs.job import Job, latest_job
from core.jobs.single import only_one
from core.training.run import Run

JOB = "gguf"
# Bytes per parameter, to estimate the size; more for small models, whose rows do not divide well into blocks.
_BYTES = {"f16": 2.0, "q8_0": 34 / 32, "q4_k_m": 0.65}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An existing file of the current merged model; `verified` is None if llama.cpp was not asked."""

    kind: str
    path: Path
    bytes: int
    seconds: float
    verified: dict[str, Any] | None


def start(
    workspace: Workspace,
    run: Run,
    kinds: Sequence[str],
    *,
    verify: bool = False,
    write: bool = True,
    scored: Sequence[dict[str, Any]] = (),
) -> Job:
    """Start creating the files of a run, and verifying them if `verify`; without `write` only the latter.

    A quantized file is also asked the questions in `scored` (see `verification`). Raises BadInput if there is no merged
    model, or it cannot be converted or verified.
    """
    kinds = [kind for kind in KINDS if kind in kinds]
    busy = Text(f"训练 {run.id} 的 GGUF 正在生成", f"the GGUF files of {run.id} are already being created")
    with only_one(run.jobs, JOB, busy) as begin:
        sweep(run)
        merged = exported(run).merged
        if merged is None:
            raise BadInput(
                f"训练 {run.id} 还没有合并：先 export merge",
                f"the run {run.id} is not merged yet: run export merge first",
            )
        if why := refusal(run.merged):
            raise BadInput(why.zh, why.en)
        files = {kind: place(run, kind) for kind in kinds}
        reference = _reference(run) if verify else []
        plan = {
            "merged": str(run.merged),
            "made": merged["made"],
            "name": run.id,
            "files": {kind: str(file) for kind, file in files.items()},
            "beside": {kind: _beside(run, kind) for kind in kinds},
            "write": write,
            "verify": verify,
            "stops": _stops(run),
            "reference": reference,
            "scored": list(scored) if verify else [],
            "exchanges": exchanges(run.template, run.questions) if talks(run) else [],
            "nickname": run.nickname,
            "own": len(run.questions),
            "llama_cpp": {"place": str(llama_cpp.place(workspace)), "package": asdict(llama_cpp.package())}
            if verify or set(kinds) & set(llama_cpp.QUANTISED)
            else None,
        }
        file = run.path / "gguf" / "plan.json"
        write_json(file, plan)
        asked = [made.with_name("verified.json") for made in files.values()] if verify else []
        return begin(
            module_command("core.export.gguf.worker", file),
            artefacts=[*files.values(), *asked],
            facts={"kinds": kinds, "verify": verify},
        )


def finish(run: Run, job: Job, on_progress: Callable[[Job], None] | None = None) -> list[Made]:
    """Wait for the job and return its files. Raises WorkFailed with the reason."""
    what = Text(f"训练 {run.id} 的 GGUF 没有生成完", f"the GGUF files of {run.id} could not be completed")
    try:
        finish_job(job, what, on_progress=on_progress, why=why)
    finally:
        sweep(run)
    return [one for one in made(run) if one.kind in job.spec["facts"]["kinds"]]


def why(job: Job) -> Text | None:
    """Return why a job failed, in the worker's own words if there are any; None if it runs or succeeded."""
    found, said = reason(job), job.progress.get("problem")
    return Text(said["zh"], said["en"]) if found is not None and said and not job.stopping else found


def made(run: Run) -> list[Made]:
    """Return the existing files that are of the current merged model."""
    there = {kind: file for kind in KINDS if (file := place(run, kind)).is_file()}
    merged = exported(run).merged if there else None
    found = []
    for kind, file in there.items():
        facts = read_json(file.with_name("gguf.json"))
        if merged is None or not facts or facts["merged"] != merged["made"]:
            continue
        verified = read_json(file.with_name("verified.json"))
        found.append(
            Made(kind=kind, path=file, bytes=facts["bytes"], seconds=facts["seconds"], verified=verified or None)
        )
    return found


def place(run: Run, kind: str) -> Path:
    """Return the path of a file, existing or not."""
    return run.path / "gguf" / kind / f"{run.id}-{kind}.gguf"


def expected_bytes(run: Run, kind: str) -> int:
    """Return the approximate size of a file."""
    return round((run.facts.model.parameters or 0) * _BYTES[kind])


def discard(run: Run) -> None:
    """Delete the files; the merged model remains."""
    shutil.rmtree(run.path / "gguf", ignore_errors=True)


def sweep(run: Run) -> None:
    """Remove what a killed job left incomplete. Does nothing while one is running."""
    last = latest_job(run.jobs, JOB)
    if last is not None and not last.status().live:
        for left in (run.path / "gguf").glob("*/*.partial"):
            left.unlink(missing_ok=True)


def title(run: Run) -> str:
    """Return the name of the assistant."""
    return f"{run.nickname}的小助手 · {run.nickname}'s assistant" if run.nickname else run.id


def _beside(run: Run, kind: str) -> dict[str, str]:
    """Return the texts to write next to a file."""
    file, name = place(run, kind).name, name_of(run.nickname, run.id)
    template = run.template if talks(run) else None
    return {
        "Modelfile": modelfile(file, template, _ends(run)),
        "README.md": readme(title(run), file, name, kind, first_question(run.questions)),
    }


def _stops(run: Run) -> list[int]:
    """Return the tokens that end an answer of the merged model."""
    said = (read_json(run.merged / "generation_config.json") or {}).get("eos_token_id")
    said = (read_json(run.merged / "config.json") or {}).get("eos_token_id") if said is None else said
    return said if isinstance(said, list) else [] if said is None else [said]


def _ends(run: Run) -> list[str]:
    """Return the same as texts, as far as the tokenizer's settings contain them."""
    decoder = (read_json(run.merged / "tokenizer_config.json") or {}).get("added_tokens_decoder") or {}
    added = (read_json(run.merged / "tokenizer.json") or {}).get("added_tokens") or []
    texts = {str(one["id"]): one["content"] for one in added} | {key: one["content"] for key, one in decoder.items()}
    return [texts[str(token)] for token in _stops(run) if str(token) in texts]


def _reference(run: Run) -> list[dict[str, Any]]:
    """Return what the merged model was asked and answered, in tokens. Raises BadInput if its verification lacks it."""
    verified, plan = exported(run).verified, read_json(run.path / "export" / "plan.json")
    if not verified or "tokens" not in verified or not plan or len(plan["prompts"]) != len(verified["tokens"]):
        raise BadInput(
            f"训练 {run.id} 合并后还没有校验：先 export verify，GGUF 的回答要和它的回答比较",
            f"the merged model of {run.id} is not verified yet: run export verify first; the answers of the GGUF file are compared with its answers",
        )
    return [
        {"text": text, **tokens, "said": answer["merged"]}
        for text, tokens, answer in zip(plan["prompts"], verified["tokens"], verified["answers"], strict=True)
    ]
