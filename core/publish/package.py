"""The package to publish: merged model or adapter, model card, a small chat app, requirements, git-lfs attributes.

Creates a directory that is ready to push; `upload` sends it.
"""

import importlib.metadata
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Literal, get_args

from core.export.export import exported
from core.ground.errors import BadInput
from core.ground.files import new_directory, write_text
from core.ground.workspace import Workspace
from core.publish.card import base_of, card
from core.report.mask import Mask
from core.training.run import Run

Target = Literal["openxlab", "modelscope", "huggingface"]
What = Literal["merged", "adapter"]
TARGETS: tuple[Target, ...] = get_args(Target)
WHATS: tuple[What, ...] = get_args(What)
# Files for git-lfs: weights, tokenizers, and other large files of a model.
_LARGE = ("*.safetensors", "*.bin", "*.model", "*.pt", "*.pth", "tokenizer.json")
_APP = Path(__file__).with_name("deploy") / "app.py.txt"
# Weights are hard-linked if the disk supports it: there may be no space for another copy.
_WEIGHTS = (".safetensors", ".bin")
# Files written by us that contain this machine's paths.
_MASKED = ("xtuner_config.py", "adapter_config.json")
_LEFT_OUT = ("export.json", "*.partial", "README.md", ".cache")


@dataclass(frozen=True, slots=True)
class Package:
    """A package on disk: its directory, and its files by relative path."""

    path: Path
    files: list[str]


def package(
    workspace: Workspace, run: Run, target: Target, out: Path | None = None, *, what: What = "merged"
) -> Package:
    """Create the package of a run for `target`. Raises BadInput if `what` does not exist yet or `out` is taken."""
    if target not in TARGETS or what not in WHATS:
        raise BadInput(
            f"没有目标 {target}（{what}）：可用 {'、'.join(TARGETS)}，{'、'.join(WHATS)}",
            f"there is no target {target} ({what}): use {', '.join(TARGETS)} and {', '.join(WHATS)}",
        )
    source = _source(run, what)
    path = (out or place(run, target, what)).absolute()
    try:
        with new_directory(path) as partial:
            shutil.copytree(
                source,
                partial,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns(*_LEFT_OUT),
                copy_function=_linked_or_copied,
            )
            mask = Mask(workspace, then=run.workspace_then)
            _mask(mask, partial)
            write_text(partial / "app.py", app(run, what))
            write_text(partial / "requirements.txt", requirements(run, what))
            write_text(
                partial / ".gitattributes", "".join(f"{kind} filter=lfs diff=lfs merge=lfs -text\n" for kind in _LARGE)
            )
            write_text(partial / "README.md", mask(card(run, target, what)))
    except FileExistsError:
        raise BadInput(
            f"{path} 已存在：请换一个目录，或先删除它",
            f"{path} already exists: choose another directory, or delete it",
        ) from None
    except OSError as error:
        raise BadInput(
            f"写不到 {path}（{error.strerror}）：请换一个目录",
            f"{path} cannot be written to ({error.strerror}): choose another directory",
        ) from error
    return at(path)


def place(run: Run, target: Target, what: What = "merged") -> Path:
    """Return the default directory of a run's package."""
    return run.path / (f"package-{target}" if what == "merged" else f"package-{target}-adapter")


def there(run: Run, target: Target, what: What = "merged") -> Package | None:
    """Return the existing package; None if there is none."""
    path = place(run, target, what)
    return at(path) if (path / "README.md").is_file() else None


def discard(run: Run, target: Target, what: What = "merged") -> None:
    """Delete a package; the model it was created from remains."""
    shutil.rmtree(place(run, target, what), ignore_errors=True)


def at(path: Path) -> Package:
    """Return the package in a directory, with its files."""
    files = [str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()]
    return Package(path=path, files=sorted(files))


def app(run: Run, what: What) -> str:
    """Return the Python source of the chat app."""
    base = base_of(run, "huggingface")
    return Template(_APP.read_text(encoding="utf-8")).substitute(
        adapter=what == "adapter",
        code=_has_code(run, what),
        # A complete model needs no base; and a base that is not on a hub cannot be downloaded for comparison.
        base=repr(base if what == "adapter" or "/" in base else None),
        example=repr(run.questions[0] if run.questions else ""),
        instruction=repr(None if _made(run, what).get("prompt") else run.template.instruction),
        stop_words=repr(list(run.template.stop_words)),
        title=repr(title(run)),
    )


def _has_code(run: Run, what: What) -> bool:
    """Return whether the packaged model needs code of its own; True for an adapter whose base model is gone."""
    directory = run.merged if what == "merged" else run.model_path
    return not directory.is_dir() or any(directory.glob("*.py"))


def requirements(run: Run, what: What) -> str:
    """Return the app's requirements, in the versions that the run was trained with if known."""
    versions = {**run.facts.versions, "streamlit": importlib.metadata.version("streamlit")}
    needed = ["streamlit", "torch", "transformers", *(["peft"] if what == "adapter" else [])]
    # Without the local version of this machine's index: 2.5.1+cu121 is 2.5.1.
    lines = [f"{name}=={versions[name].partition('+')[0]}" if versions.get(name) else name for name in needed]
    return "\n".join([*lines, "safetensors", "einops", "sentencepiece"]) + "\n"


def title(run: Run) -> str:
    """Return the name of the published model."""
    return f"{run.nickname}的小助手" if run.nickname else run.id


def _source(run: Run, what: What) -> Path:
    _made(run, what)
    return run.merged if what == "merged" else run.adapter


def _made(run: Run, what: What) -> dict[str, Any]:
    """Return how the packaged model was created. Earlier versions, and runs on texts, have no `prompt`."""
    found = exported(run)
    made = found.merged if what == "merged" else found.adapter
    if made is None and what == "merged":
        raise BadInput(
            f"训练 {run.id} 还没有合并：先 export merge", f"the run {run.id} is not merged yet: run export merge first"
        )
    if made is None:
        raise BadInput(
            f"训练 {run.id} 还没有转换出适配器：先 export convert",
            f"the run {run.id} has no adapter yet: run export convert first",
        )
    return made


def _linked_or_copied(source: str, target: str) -> None:
    if source.endswith(_WEIGHTS):
        try:
            os.link(source, target)
            return
        except OSError:
            # Another disk, or one without hard links.
            pass
    shutil.copy2(source, target)


def _mask(mask: Mask, directory: Path) -> None:
    for name in _MASKED:
        file = directory / name
        if file.is_file():
            write_text(file, mask(file.read_text(encoding="utf-8")))
