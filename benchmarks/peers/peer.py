"""How a peer is started: its files of rows and its command, for settings by the names that both of them use.

What it trains with is read from its process, not from here (`seen`).
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.seen import noting, read
from benchmarks.product import Unfit
from core.ground.files import read_json, write_json

# Not named in a command: the peer's default.
Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A question and its answer. With a `language`: a row whose placeholders the peer itself replaces."""

    question: str
    answer: str
    system: str = ""
    language: str | None = None


def llamafactory(model: Path, datasets: Mapping[str, Sequence[Turn]], settings: Settings, out: Path) -> list[str]:
    """Return LLaMA-Factory's command, as in its examples/train_lora.

    Its template `smollm2` would add a system prompt that names the model.
    """
    columns = {"prompt": "instruction", "response": "output", "system": "system"}
    for name, turns in datasets.items():
        write_json(
            out / f"{name}.json",
            [{"instruction": one.question, "output": one.answer, "system": one.system} for one in turns],
        )
    write_json(
        out / "dataset_info.json", {name: {"file_name": f"{name}.json", "columns": columns} for name in datasets}
    )
    config = read_json(model / "config.json") or {}
    write_json(
        out / "train.json",
        {
            "model_name_or_path": str(model), "stage": "sft", "do_train": True, "finetuning_type": "lora",
            "lora_target": "all", "dataset": ",".join(datasets), "dataset_dir": str(out),
            "template": "smollm" if config.get("model_type") == "llama" else "qwen", "output_dir": str(out / "adapter"),
            "logging_steps": 1, "save_strategy": "no", "report_to": "none", "lr_scheduler_type": "cosine",
            "preprocessing_num_workers": 1, **_named(settings, {"max_length": "cutoff_len"}),
        },
    )  # fmt: skip
    return ["llamafactory-cli", "train", str(out / "train.json")]


def swift(model: Path, datasets: Mapping[str, Sequence[Turn]], settings: Settings, out: Path) -> list[str]:
    """Return ms-swift's command, as in its self-cognition example."""
    places = {name: _swift_rows(turns, out / name) for name, turns in datasets.items()}
    # It knows no SmolLM2, but its architecture and its prompt.
    llama = (read_json(model / "config.json") or {}).get("model_type") == "llama"
    given = {
        "model": str(model), "train_type": "lora", "target_modules": "all-linear",
        "model_type": "llama3_2" if llama else "qwen2_5", "template": "chatml" if llama else "qwen2_5",
        "output_dir": str(out / "adapter"), "logging_steps": 1, "split_dataset_ratio": 0, "dataset_num_proc": 1,
        "dataloader_num_workers": 0, **settings,
    }  # fmt: skip
    # So many rows of each file, drawn again if it has fewer.
    drawn = f"#{most}" if (most := given.pop("max_samples", None)) else ""
    files = [f"{place}{drawn}" for place in places.values()]
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    return ["swift", "sft", "--dataset", *files, *words]


def _swift_rows(turns: Sequence[Turn], place: Path) -> Path:
    """Write rows as messages; rows with a language as a copy of the hub's dataset, whose name has a meaning."""
    of_hub = any(one.language for one in turns)
    file = place / f"{place.name}.jsonl" if of_hub else place.with_suffix(".jsonl")
    file.parent.mkdir(exist_ok=True)
    with file.open("w", encoding="utf-8") as written:
        for one in turns:
            said = [("system", one.system), ("user", one.question), ("assistant", one.answer)]
            messages = [{"role": role, "content": text} for role, text in said if text]
            row = (
                {"query": one.question, "response": one.answer, "tag": one.language}
                if of_hub
                else {"messages": messages}
            )
            written.write(json.dumps(row, ensure_ascii=False) + "\n")
    return place if of_hub else file


COMMANDS = {"llamafactory": llamafactory, "swift": swift}


def train(name: str, environment: Path, command: Sequence[str], out: Path) -> dict[str, Any]:
    """Run a peer's command in `out`; return its adapter and what was seen. Raises Unfit with its last line."""
    programs, seen = environment / "bin", out / "seen.jsonl"
    with (out / "said.txt").open("wb") as said:
        done = subprocess.run(
            [str(programs / command[0]), *command[1:]],
            cwd=out,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "HF_HUB_OFFLINE": "1",
                "PATH": f"{programs}:{os.environ['PATH']}",
                **noting(seen),
            },
            check=False,
        )
    if done.returncode != 0:
        lines = (out / "said.txt").read_text(errors="replace").strip().splitlines()
        raise Unfit(f"{name}: {lines[-1] if lines else '?'}")
    adapters = sorted(out.rglob("adapter_config.json"), key=lambda path: path.stat().st_mtime)
    if not adapters:
        raise Unfit(f"{name} left no adapter")
    return {"adapter": str(adapters[-1].parent), **read(seen)}


def _named(settings: Settings, names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in settings.items()}
