"""Run measurements in an engine process with a time limit; results are cached by content.

The measuring itself is in `measure_worker`; what a result means for a learner is for `data` and `config`.
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.engine import interpreter
from core.engine.ask import answer_of
from core.engine.commands import engine_command, engine_environment
from core.engine.config_text import read
from core.engine.consent import refuse
from core.ground.errors import WorkFailed
from core.ground.files import read_json, sha256, write_json, write_text
from core.ground.gpu import gpus
from core.ground.workspace import Workspace

MOST_SECONDS = 600
# For building a config only: anything slower never finishes.
MOST_BUILD_SECONDS = 90
# Raised when the measurements change, so that results cached by an older version are not reused.
_VERSION = "6"
_MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")


def config_facts(
    workspace: Workspace, config: Path, data_sha256: str, model: Path | None = None, *, ask: bool = True
) -> dict[str, Any]:
    """Return what a config amounts to: the sequences of its data, its schedule, its model.

    Raises WorkFailed with the engine's last line, BadInput for a config that was not approved. Without `ask` only
    cached results are returned, and WorkFailed is raised if there are none.
    """
    model_files = [sha256(path) for name in _MODEL_FILES if model and (path := model / name).is_file()]
    key = (sha256(config), data_sha256, *model_files)
    return _measure(workspace, key, "config", [config], ask=ask)


def built(workspace: Workspace, configs: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Return the plain values of configs as mmengine builds them, by file; within a time limit. Raises WorkFailed."""
    key = [digest for config in configs for digest in (str(config), sha256(config))]
    return _measure(workspace, key, "build", configs)


def machine(workspace: Workspace) -> dict[str, Any]:
    """Return what a CUDA process sees: `cuda`, `flops_per_s`; and the GPU's `name`, `free_mb`, `total_mb`, `bf16`.

    Not cached where there is a GPU, since free memory changes. Raises WorkFailed.
    """
    cards = [card["name"] for card in gpus()]
    key = (*cards, str(os.cpu_count()))
    return _measure(workspace, key, "machine", keep=not cards)


def _measure(
    workspace: Workspace,
    key: Sequence[str],
    what: str,
    configs: Sequence[Path] = (),
    *,
    keep: bool = True,
    ask: bool = True,
) -> dict[str, Any]:
    with_what = interpreter.python(workspace)
    name = hashlib.sha256("\n".join([_VERSION, with_what, what, *key]).encode()).hexdigest()[:24]
    directory = workspace.cache / "measured"
    result = directory / f"{name}.json"
    if keep and (known := read_json(result)) is not None:
        return known
    if not ask:
        raise WorkFailed("还没有测算过", "not measured yet")
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".measuring-", dir=directory) as scratch:
        # A directory of its own, so that concurrent calls do not write into each other's file.
        told = Path(scratch) / "result.json"
        limit = MOST_SECONDS if what != "build" else MOST_BUILD_SECONDS
        copies = {str(_copied(workspace, config, Path(scratch, str(at)))): config for at, config in enumerate(configs)}
        arguments = [what, *(["--config", *copies] if copies else [])]
        argv = engine_command(workspace, "core.engine.workers.measure_worker", *arguments, "--result", told)
        answer = answer_of(argv, seconds=limit, result=told, env=engine_environment(workspace))
        found = answer.content
        if answer.late:
            raise WorkFailed(
                f"超过 {limit} 秒仍未完成，已停止：配置里可能有不会结束的代码",
                f"stopped after {limit} s: the config may contain code that never finishes",
            )
        if found is None:
            raise WorkFailed(f"引擎无法读取：{answer.said}", f"the engine cannot read it: {answer.said}")
        if what == "build":
            found = {str(config): found[copy] for copy, config in copies.items()}
        if "error" not in found.get("data", {}):
            # Not cached: the missing data may exist the next time.
            write_json(result, found)
    return found


def _copied(workspace: Workspace, config: Path, directory: Path) -> Path:
    """Copy a config that may be executed: the approved text, whatever happens to the file meanwhile."""
    ours = interpreter.xtuner_directory(workspace) in config.parents
    text = read(config) if ours else refuse(workspace, config)
    write_text(directory / config.name, text)
    return directory / config.name
