"""Asks the engine for tokens in another process: lengths of a dataset's rows, and rows token by token.

`token_worker` calls the tokenizer; `statistics` and `rendering` interpret the results. Results are cached by content.
"""

import hashlib
import json
import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.engine.ask import answer_of
from core.engine.commands import engine_command, engine_environment
from core.engine.presets import PromptTemplate
from core.ground.errors import WorkFailed
from core.ground.files import read_json, write_text
from core.ground.workspace import Workspace
from core.jobs.job import Job
from core.jobs.single import live, starting
from core.models.model import Model

WORKER = "core.engine.workers.token_worker"
MOST_SECONDS = 900
# Version of the cached results.
_VERSION = "3"
# Files of a model that define its tokenizer.
_TOKENIZER = ("token*", "*.model", "vocab*", "merges.txt", "*tokens*.json", "config.json")
# If a dataset has more rows than the first number, a sample of at most the second is counted: seconds with any
# tokenizer.
MOST_COUNTED, SAMPLE = 60_000, 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Tokens of the counted rows: all if `every` is 1, else every n-th of `rows`."""

    rows: int
    every: int
    lengths: array

    @property
    def total(self) -> int:
        """Tokens of all rows; an estimate if only a sample was counted."""
        return round(sum(self.lengths) * self.rows / max(1, len(self.lengths)))


def kept_lengths(
    workspace: Workspace, model: Model, sha256: str, template: PromptTemplate | None, every: int = 1
) -> Lengths | None:
    """Return the stored lengths for the data with this hash; None if there are none."""
    path = _result(workspace, model, sha256, template, every)
    facts = read_json(Path(f"{path}.json"))
    if facts is None or not path.is_file():
        return None
    lengths = array("I")
    lengths.frombytes(path.read_bytes())
    return Lengths(rows=facts["rows"], every=facts["every"], lengths=lengths)


def count(
    workspace: Workspace, model: Model, data: Path, sha256: str, template: PromptTemplate | None, *, every: int = 1
) -> Lengths:
    """Count the tokens of each row of `data` with the model's tokenizer, as in training. Raises WorkFailed."""
    known = kept_lengths(workspace, model, sha256, template, every)
    if known is None:
        _run(workspace, _arguments(workspace, model, data, sha256, template, every))
        known = kept_lengths(workspace, model, sha256, template, every)
    if known is None:
        raise WorkFailed("没有得到 token 数", "the tokens have not been counted")
    return known


def start_count(
    workspace: Workspace, model: Model, data: Path, sha256: str, template: PromptTemplate | None, *, every: int = 1
) -> Job:
    """Count as a job that survives a closed tab; returns the running job if one counts the same."""
    facts = {"sha256": sha256, "model": model.name, "template": _written(template), "every": every}
    arguments = _arguments(workspace, model, data, sha256, template, every)
    with starting(workspace.jobs, "tokens"):
        return live(workspace.jobs, "tokens", facts) or Job.start(
            workspace.jobs,
            "tokens",
            engine_command(workspace, WORKER, *arguments),
            env=engine_environment(workspace),
            artefacts=[_result(workspace, model, sha256, template, every)],
            facts=facts,
        )


def render(
    workspace: Workspace, model: Model, rows: Sequence[Any], template: PromptTemplate | None
) -> list[dict[str, Any]]:
    """Return each row's tokens as `{tokens: [{id, text, trained}], doubled_bos: [places], bos: [ids]}`.

    Raises WorkFailed.
    """
    return _kept(workspace, "render", model, rows, template)["rows"]


# Typical exchanges in both languages: one and several turns, with and without a system prompt.
_EXCHANGES = (
    {"conversation": [{"system": "", "input": "你是谁？", "output": "我是小明的小助手。"}]},
    {"conversation": [{"system": "Be brief.", "input": "Who are you?", "output": "I am NICK's assistant."}]},
    {
        "conversation": [
            {"system": "", "input": "一加一？\n请直接回答", "output": "2"},
            {"input": "And  twice that?", "output": "Four.\n"},
        ]
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A template in tokens.

    `trained` and `whole` show where training, which encodes piece by piece, first differs from encoding the text at
    once (None: they are equal); `begins_twice`: a row begins with two BOS tokens; `split`: markers that are not a
    single token.
    """

    trained: str | None = None
    whole: str | None = None
    begins_twice: bool = False
    split: tuple[str, ...] = ()


def prove(workspace: Workspace, model: Model, template: PromptTemplate) -> Proof:
    """Compare three exchanges token by token with the model's tokenizer; cached until it or the template changes.

    Raises WorkFailed if the engine has no tokenizer for the model.
    """
    known = _kept(workspace, "prove", model, _EXCHANGES, template)
    first = next((row for row in known["rows"] if not row["equal"]), {})
    return Proof(
        trained=first.get("trained"),
        whole=first.get("whole"),
        begins_twice=any(row["begins_twice"] for row in known["rows"]),
        split=tuple(known["split"]),
    )


def _kept(
    workspace: Workspace, what: str, model: Model, rows: Sequence[Any], template: PromptTemplate | None
) -> dict[str, Any]:
    """Return the worker's answer for `rows`, cached by content. Raises WorkFailed."""
    text, written = json.dumps(list(rows), ensure_ascii=False), _written(template)
    key = _key(model, what, hashlib.sha256(text.encode()).hexdigest(), written)
    result = workspace.cache / "tokens" / f"{key}.rows.json"
    known = read_json(result)
    if known is None:
        result.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as directory:
            data = Path(directory) / "rows.json"
            write_text(data, text)
            _run(workspace, [what, "--model", model.path, "--data", data, "--template", written, "--result", result])
        known = read_json(result)
    if known is None:
        raise WorkFailed("没有得到 token", "there are no tokens")
    return known


def _arguments(
    workspace: Workspace, model: Model, data: Path, sha256: str, template: PromptTemplate | None, every: int
) -> list[Any]:
    result = _result(workspace, model, sha256, template, every)
    result.parent.mkdir(parents=True, exist_ok=True)
    return [
        "count", "--model", model.path, "--data", data, "--template", _written(template), "--result", result, "--every", every
    ]  # fmt: skip


def _result(workspace: Workspace, model: Model, sha256: str, template: PromptTemplate | None, every: int) -> Path:
    return workspace.cache / "tokens" / f"{_key(model, sha256, _written(template), str(every))}.lengths"


def _written(template: PromptTemplate | None) -> str:
    """Serialize a template for the worker; empty for None."""
    return json.dumps(template.parts, ensure_ascii=False) if template else ""


def _key(model: Model, *more: str) -> str:
    """Return the cache key: the contents of the tokenizer's files, and the request."""
    files = sorted({file for pattern in _TOKENIZER for file in model.path.glob(pattern) if file.is_file()})
    contents = [f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files]
    return hashlib.sha256("\n".join([_VERSION, *contents, *more]).encode()).hexdigest()[:24]


def _run(workspace: Workspace, arguments: list[Any]) -> None:
    argv = engine_command(workspace, WORKER, *arguments)
    answer = answer_of(argv, seconds=MOST_SECONDS, env=engine_environment(workspace))
    if answer.late:
        raise WorkFailed(
            f"统计 token 超过 {MOST_SECONDS} 秒，已停止", f"counting tokens took longer than {MOST_SECONDS} s"
        )
    if answer.returncode != 0:
        raise WorkFailed(f"引擎的分词器出错：{answer.said}", f"the engine's tokenizer failed: {answer.said}")
