"""Asks the engine to measure, in a process of its own with a time limit; the results are kept by content.

What is measured is in `measure_worker`; what it means for a learner is for `data` and `config`.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.engine.commands import engine_command, engine_environment
from core.engine.presets import PromptTemplate
from core.ground.errors import WorkFailed
from core.ground.files import read_json, sha256
from core.ground.workspace import Workspace

MOST_SECONDS = 600


def token_lengths(workspace: Workspace, model: Path, data: Path, template: PromptTemplate) -> list[int]:
    """Tokens of each row of `data`, counted with the model's tokenizer as in training. Raises WorkFailed."""
    key = (sha256(data), str(model.resolve()), template.name)
    arguments = ["tokens", "--model", str(model), "--data", str(data), "--template", json.dumps(asdict(template))]
    return _measure(workspace, key, arguments)["lengths"]


def config_facts(workspace: Workspace, config: Path, data_sha256: str) -> dict[str, Any]:
    """What a config comes to, built through XTuner itself. Raises WorkFailed with the engine's last line."""
    return _measure(workspace, (sha256(config), data_sha256), ["config", "--config", str(config)])


def _measure(workspace: Workspace, key: Sequence[str], arguments: list[str]) -> dict[str, Any]:
    name = hashlib.sha256("\n".join([arguments[0], *key]).encode()).hexdigest()[:24]
    result = workspace.cache / "measured" / f"{name}.json"
    if (known := read_json(result)) is not None:
        return known
    result.parent.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            engine_command(workspace, "core.engine.measure_worker", *arguments, "--result", result),
            env={**os.environ, **engine_environment(workspace)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=MOST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise WorkFailed(
            f"测算超过 {MOST_SECONDS} 秒，已停止", f"measuring took more than {MOST_SECONDS} s and was stopped"
        ) from None
    found = read_json(result)
    if found is None:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]
        raise WorkFailed(f"引擎无法读取：{last}", f"the engine cannot read it: {last}")
    return found
