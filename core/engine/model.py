"""The models of a workspace: `models/<name>` is a link to a model directory, or the demo model built on the spot.

Tells whether a directory is whole by reading headers and sizes; loads no weights and imports no torch.
"""

import json
import os
import struct
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from core.engine.commands import engine_environment, module_command
from core.ground.errors import BadInput
from core.ground.files import locked, read_json
from core.ground.problem import Problem
from core.ground.text import Text
from core.ground.workspace import PROJECT, Workspace
from core.jobs.job import Job, Status, latest_job

DEMO = "demo"
DIALOGUES = PROJECT / "core" / "data" / "dialogues"
# The prompt template of each architecture that XTuner has presets and templates for.
_TEMPLATES = {
    "InternLM2ForCausalLM": "internlm2_chat",
    "InternLM3ForCausalLM": "internlm2_chat",
    "Qwen2ForCausalLM": "qwen_chat",
    "LlamaForCausalLM": "llama3_chat",
    "MistralForCausalLM": "mistral",
    "GemmaForCausalLM": "gemma",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What the files of a model directory say."""

    name: str
    path: Path
    architecture: str | None = None
    parameters: int = 0
    bytes: int = 0
    dtype: str | None = None
    layers: int = 0
    hidden_size: int = 0
    vocab_size: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not any(problem.severity == "error" for problem in self.problems)

    @property
    def demo(self) -> bool:
        return (self.path / "demo_model.json").exists()

    @property
    def prompt_template(self) -> str:
        """XTuner's name of the template that its architecture was tuned with."""
        return _TEMPLATES.get(self.architecture or "", "default")

    @property
    def remote_code(self) -> list[str]:
        """The Python files that `trust_remote_code` would run."""
        return sorted(path.name for path in self.path.glob("*.py"))

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "path": str(self.path),
            "parameters": self.parameters,
            "architecture": self.architecture,
            "problems": [problem.to_json() for problem in self.problems],
        }


def every(workspace: Workspace) -> list[Model]:
    """All models of the workspace, by name, the broken ones with their problems."""
    return [
        look(path)
        for path in sorted(workspace.models.glob("*"))
        if not path.name.startswith(".") and path.suffix != ".partial"
    ]


def find(workspace: Workspace, name: str) -> Model:
    """The model `name`. Raises BadInput where there is none."""
    path = workspace.model(name)
    if not path.exists() and not path.is_symlink():
        raise BadInput(
            f"没有模型 {name}：先用 models demo 建示例模型，或用 models link 链接本地模型",
            f"there is no model {name}: make the demo model with models demo, or link one with models link",
        )
    return look(path)


def usable(workspace: Workspace, name: str) -> Model:
    """The model `name`, whole. Raises BadInput with its first problem where it is not."""
    model = find(workspace, name)
    if not model.whole:
        worst = next(problem for problem in model.problems if problem.severity == "error")
        raise BadInput(
            f"模型 {name} 不完整：{worst.where}：{worst.message.zh}。{worst.hint.zh}",
            f"the model {name} is not whole: {worst.where}: {worst.message.en}; {worst.hint.en}",
        )
    return model


def link(workspace: Workspace, directory: str | Path, name: str | None = None) -> Model:
    """Link a model directory into the workspace, as the course does. Raises BadInput where it is not whole."""
    target = Path(directory).expanduser().absolute()
    if not target.is_dir():
        raise BadInput(f"没有目录 {target}：请检查路径", f"there is no directory {target}: check the path")
    place = workspace.model(name or target.name)
    seen = look(target)
    if not seen.whole:
        worst = next(problem for problem in seen.problems if problem.severity == "error")
        raise BadInput(
            f"{target} 不是完整的模型：{worst.where}：{worst.message.zh}。{worst.hint.zh}",
            f"{target} is not a whole model: {worst.where}: {worst.message.en}; {worst.hint.en}",
        )
    workspace.models.mkdir(exist_ok=True)
    try:
        place.symlink_to(target.resolve(), target_is_directory=True)
    except FileExistsError:
        raise BadInput(
            f"模型 {place.name} 已存在：请换一个名称", f"the model {place.name} is there already: choose another name"
        ) from None
    return look(place)


def build_demo(workspace: Workspace) -> Job | None:
    """Start building the demo model; the build that runs already where there is one, None where the model is there."""
    with locked(workspace.jobs / ".demo_model.lock"):
        place = workspace.model(DEMO)
        if place.exists() and look(place).whole:
            return None
        running = latest_job(workspace.jobs, "demo_model")
        if running and running.status().live:
            return running
        if place.exists():
            raise BadInput(
                f"{place} 不是完整的示例模型：请移走它再试",
                f"{place} is not a whole demo model: move it away and try again",
            )
        workspace.models.mkdir(exist_ok=True)
        # The progress file is named to the command by its environment.
        argv = module_command("core.engine.demo_model", "--dialogues", DIALOGUES, "--out", place)
        return Job.start(
            workspace.jobs,
            "demo_model",
            argv,
            env=engine_environment(workspace),
            artefacts=[place / "model.safetensors"],
        )


def demo_status(workspace: Workspace) -> Status | None:
    """Where the newest build of the demo model stands, None if there never was one."""
    job = latest_job(workspace.jobs, "demo_model")
    return job.status() if job else None


def look(path: Path) -> Model:
    """What the model directory at `path` holds, and every problem that its files show."""
    problems: list[Problem] = []

    def problem(where: str, zh: str, en: str) -> None:
        hint = Text("请重新下载或补齐这个文件", "download or copy this file again")
        problems.append(Problem(severity="error", where=where, message=Text(zh, en), hint=hint))

    config = read_json(path / "config.json")
    if not isinstance(config, dict):
        problem("config.json", "没有这个文件，或不是合法的 JSON", "missing, or not valid JSON")
        config = {}
    for file in {spec.split(".")[0] + ".py" for spec in config.get("auto_map", {}).values() if isinstance(spec, str)}:
        if not (path / file).is_file():
            problem(
                file, "config.json 的 auto_map 提到它，但没有这个文件", "named by auto_map in config.json, but missing"
            )
    if not any((path / file).is_file() for file in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        problem("tokenizer", "没有分词器文件", "no tokenizer file")
    parameters, total, dtype = _weights(path, problem)
    return Model(
        name=path.name,
        path=path,
        architecture=next(iter(config.get("architectures") or []), None),
        parameters=parameters,
        bytes=total,
        dtype=config.get("torch_dtype") or dtype,
        layers=config.get("num_hidden_layers", 0),
        hidden_size=config.get("hidden_size", 0),
        vocab_size=config.get("vocab_size", 0),
        problems=problems,
    )


def _weights(path: Path, problem: Any) -> tuple[int, int, str | None]:
    """Parameters, bytes and dtype of the weights; every shard that is missing or cut short is a problem."""
    index = next(
        (p for p in (path / "model.safetensors.index.json", path / "pytorch_model.bin.index.json") if p.is_file()), None
    )
    if index is not None:
        content = read_json(index)
        wanted = sorted(set(content.get("weight_map", {}).values())) if isinstance(content, dict) else []
        if not wanted:
            problem(index.name, "索引是空的或不是合法的 JSON", "the index is empty or not valid JSON")
    else:
        wanted = [name for name in ("model.safetensors", "pytorch_model.bin") if (path / name).is_file()][:1]
        shards = [*path.glob("model-*.safetensors"), *path.glob("pytorch_model-*.bin")]
        if not wanted and shards:
            name = f"{shards[0].name.partition('-')[0]}{shards[0].suffix}.index.json"
            problem(
                name, "权重分成了多个文件，但没有索引", "the weights are in several files, but their index is missing"
            )
        elif not wanted:
            problem("model.safetensors", "没有权重文件", "no weights")
    parameters, total, dtype = 0, 0, None
    for name in wanted:
        shard = path / name
        if not shard.is_file():
            problem(name, "索引里有它，但没有这个文件", "named by the index, but missing")
            continue
        total += shard.stat().st_size
        if shard.suffix == ".safetensors":
            header = safetensors_header(shard)
            if header is None:
                problem(name, "文件不完整（长度与头部不符）", "cut short: its length does not fit its header")
            else:
                parameters += sum(prod(tensor["shape"]) for tensor in header.values())
                dtype = dtype or next((tensor["dtype"] for tensor in header.values()), None)
    return parameters, total, dtype


def safetensors_header(path: Path) -> dict[str, Any] | None:
    """The tensors that a safetensors file says it holds; None where the file is shorter than that, or no such file.

    Format: 8 bytes little-endian header length, JSON header, data (github.com/huggingface/safetensors).
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            size = os.fstat(file.fileno()).st_size
            if length > size:
                return None
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    except (OSError, ValueError, LookupError, AttributeError, TypeError, struct.error):
        return None
    return header if 8 + length + end == size else None
