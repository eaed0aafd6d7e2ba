"""Asks the engine for tokens, in a process of its own: lengths of a dataset's rows, and rows token by token.

What is asked of the tokenizer is in `token_worker`; what it means for a learner is for `data`. Results are kept by
content.
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
# What a kept result was made by.
_VERSION = "3"
# Of a model's files, those that make its tokenizer.
_TOKENIZER = ("token*", "*.model", "vocab*", "merges.txt", "*tokens*.json", "config.json")
# Of a dataset with more rows than the first, a sample of at most the second is counted: seconds with any tokenizer.
MOST_COUNTED, SAMPLE = 60_000, 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """The tokens of the rows that were counted: all where `every` is 1, else every so many-th of `rows`."""

    rows: int
    every: int
    lengths: array

    @property
    def total(self) -> int:
        """Tokens of all rows; an estimate where only a sample was counted."""
        return round(sum(self.lengths) * self.rows / max(1, len(self.lengths)))


def kept_lengths(
    workspace: Workspace, model: Model, sha256: str, template: PromptTemplate | None, every: int = 1
) -> Lengths | None:
    """What was counted before of the data with this hash; None if nothing was."""
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
    """Tokens of each row of `data`, with the model's tokenizer, as in training. Raises WorkFailed."""
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
    """Count as a job, which a closed tab does not end; one that counts the same already goes on."""
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
    """Each row's tokens as `{tokens: [{id, text, trained}], doubled_bos: [places], bos: [ids]}`. Raises WorkFailed."""
    return _kept(workspace, "render", model, rows, template)["rows"]


# What people write, in both languages and over several rounds; with a turn of the system.
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
    """What a template comes to in tokens: where training, which encodes piece by piece, and the whole text first differ
    (None where they are the same), whether a row begins twice, and which marks are not one token each."""

    trained: str | None = None
    whole: str | None = None
    begins_twice: bool = False
    split: tuple[str, ...] = ()


def prove(workspace: Workspace, model: Model, template: PromptTemplate) -> Proof:
    """Compare three exchanges token by token, with the model's tokenizer; kept until it or the template changes.

    Raises WorkFailed where the engine has no tokenizer for the model.
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
    """What the worker says of `rows`, kept by content. Raises WorkFailed."""
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
    """A template as the engine is given it; empty for none."""
    return json.dumps(template.parts, ensure_ascii=False) if template else ""


def _key(model: Model, *more: str) -> str:
    """What a result depends on: what is in the tokenizer's files, and what was asked."""
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
