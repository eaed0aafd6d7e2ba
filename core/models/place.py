"""Recognizes paths that are not model directories and names the one to give instead: a hub cache, GGUF, an adapter, …

Looks at names only. `weights` checks whether the files are complete, `kind` whether the model can be trained.
"""

import os
import re
from pathlib import Path

from core.ground.errors import BadInput
from core.ground.model_code import read_object
from core.ground.text import Text

_MOST_NAMED = 3
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
# Directories of a hub's cache, which are not models themselves.
_HUB_CACHE = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")


def refuse_no_model(path: Path) -> None:
    """Raise BadInput if `path` is recognized as something other than a model directory, with the path to give instead.

    A directory that only misses files is not refused here.
    """
    said = _file(path) if os.path.isfile(path) else _directory(path) if os.path.isdir(path) else None
    if said is not None:
        raise BadInput(f"{path} {said.zh}", f"{path} {said.en}")


def _file(path: Path) -> Text | None:
    """Return what a single file is, for a user who was asked for a directory."""
    suffix, parent = path.suffix.lower(), path.parent
    if suffix == ".gguf":
        return _GGUF
    if suffix in _WEIGHTS or path.name in ("config.json", "tokenizer.json", "tokenizer.model"):
        return Text(
            f"是单个文件：请填写它所在的目录 {parent}",
            f"is a single file: give its directory, {parent}",
        )
    if suffix in _ARCHIVES:
        return Text("是压缩包：请先解压，再填写解压后的目录", "is an archive: unpack it and give the directory")
    return Text("是文件，不是模型目录", "is a file, not a model directory")


_GGUF = Text(
    "是 GGUF 文件，只能推理（llama.cpp、Ollama），不能训练：请下载同名但不带 GGUF 的原始模型",
    "is GGUF, which is for inference (llama.cpp, Ollama) and cannot be trained: download the original model of the same "
    "name without GGUF",
)


def _directory(path: Path) -> Text | None:
    """Return what a directory is if it is not a model; None if it may be a model with missing files."""
    names = {entry.name for entry in _entries(path)}
    if "config.json" in names and "adapter_config.json" in names:
        return Text(
            "里除了模型还有一个适配器（adapter_config.json），加载时会换成它所指的模型：请把 adapter_config.json 和 "
            "adapter_model.* 移到别处，或先合并",
            "contains an adapter (adapter_config.json) next to the model, and loading the model would apply it: move adapter_config.json and adapter_model.* elsewhere, or merge them first",
        )
    if "config.json" in names:
        return None
    if "adapter_config.json" in names:
        return _adapter(path)
    inside = _models_in(path)
    if "snapshots" in names and ("refs" in names or _HUB_CACHE.fullmatch(path.name)):
        found = _models_in(path / "snapshots")
        if found:
            return Text(f"是 Hugging Face 的缓存目录：请填写 {found[0]}", f"is a Hugging Face cache: give {found[0]}")
        return Text(
            "是 Hugging Face 的缓存目录，但 snapshots/ 里没有完整的模型：请重新下载",
            "is a Hugging Face cache without a complete model in snapshots/: download it again",
        )
    if any(name.lower().endswith(".gguf") for name in names):
        return Text(
            "里只有 GGUF 文件，只能推理（llama.cpp、Ollama），不能训练：请下载同名但不带 GGUF 的原始模型",
            "contains only GGUF files, which are for inference (llama.cpp, Ollama) and cannot be trained: download the "
            "original model of the same name without GGUF",
        )
    if "last_checkpoint" in names or any(re.fullmatch(r"(iter|epoch)_\d+\.pth", name) for name in names):
        return Text(
            "是一次训练的输出（work_dir），不是模型：请先在“导出”页转换并合并，再链接合并后的目录",
            "is the work_dir of a training run, not a model: convert and merge it on the Export page, then link "
            "the merged model",
        )
    if "model_index.json" in names:
        return Text("是生成图片的扩散模型，不是语言模型", "is a diffusion model for images, not a language model")
    if "params.json" in names and any(name.startswith("consolidated.") for name in names):
        return Text(
            "是 Meta 或 Mistral 的原始格式：请下载 Hugging Face 格式的版本（名称通常以 -hf 结尾）",
            "is in Meta's or Mistral's original format: download the Hugging Face version (its name often ends in -hf)",
        )
    if any(name.endswith((".onnx", ".h5", ".msgpack", ".mlmodel", ".tflite")) for name in names) and not any(
        name.endswith(_WEIGHTS) for name in names
    ):
        return Text(
            "只有 ONNX、TensorFlow 等其他框架的权重：请下载 PyTorch（safetensors）版本",
            "contains weights for another framework (ONNX, TensorFlow, …): download the PyTorch (safetensors) version",
        )
    if inside:
        return Text(f"的下级目录里才有模型：请填写 {_listed(inside)}", f"is one level too high: give {_listed(inside)}")
    return None


def _adapter(path: Path) -> Text:
    base = (read_object(path / "adapter_config.json") or {}).get("base_model_name_or_path")
    base = base[:200] if isinstance(base, str) else ""
    named = (f"（它的基座是 {base}）", f" (its base model is {base})") if base else ("", "")
    return Text(
        f"只是一个适配器（LoRA），没有模型本身{named[0]}：请链接基座模型，或先把它合并成完整的模型",
        f"is only an adapter (LoRA) without its base model{named[1]}: link the base model, or merge the adapter into a complete model first",
    )


def _listed(places: list[Path]) -> str:
    return ", ".join(map(str, places[:_MOST_NAMED])) + (" …" if len(places) > _MOST_NAMED else "")


def _entries(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except OSError:
        return []


def _models_in(path: Path, levels: int = 3) -> list[Path]:
    """Return directories below `path` with a config.json and weights, newest first; unreadable ones are skipped."""
    found: list[tuple[float, Path]] = []
    below = [path]
    for _ in range(levels):
        below = [entry for place in below for entry in _entries(place)[:200] if _is_directory(entry)][:2000]
        found += [(_changed(place), place) for place in below if _holds_a_model(place)]
    return [place for _, place in sorted(found, reverse=True)]


def _is_directory(path: Path) -> bool:
    # os.path reports an unreadable entry as missing, while Path raises.
    return path.name != ".git" and os.path.isdir(path)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _holds_a_model(path: Path) -> bool:
    names = {entry.name for entry in _entries(path)}
    return "config.json" in names and any(
        name.endswith(".safetensors") or (name.startswith("pytorch_model") and name.endswith(".bin")) for name in names
    )
