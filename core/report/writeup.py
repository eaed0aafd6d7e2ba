"""The report of a run: a directory with report.md and its images, report.html, report.pdf, and everything as a ZIP.

Renders what other rooms have on disk, in the order and with the contents of the run's outline; computes nothing itself.
"""

import re
import shutil
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pylopdf_fonts_zh_cn import sans_path

from core.engine.commands import module_command
from core.ground.errors import BadInput
from core.ground.files import new_directory, write_text
from core.ground.lock import locked
from core.ground.text import Language, Text, speaking
from core.ground.workspace import Workspace
from core.jobs.job import Job
from core.jobs.single import only_one
from core.report import outline as outlines
from core.report import pdf, pictures, preparation, results, screenshots, taken_home
from core.report.markup import picture
from core.report.mask import named_secrets
from core.report.material import TITLES, Draft
from core.report.outline import Outline, Picture
from core.report.page import page
from core.training.run import Run

_FILES = {"report.md", "report.html", "report.pdf", "report.zip", "loss.png", "machine.png", "config.py"}
_PICTURES = re.compile(r"(?:own-\d+|screen-[a-z]+)\.(?:png|jpg)")
_SECTIONS: dict[str, Callable[[Draft], list[str]]] = {
    "task": preparation.task,
    "environment": preparation.environment,
    "model": preparation.model,
    "dataset": preparation.dataset,
    "config": preparation.config,
    "commands": preparation.commands,
    "training": results.training,
    "timeline": results.timeline,
    "comparison": results.comparison,
    "scores": results.scores,
    "export": results.export,
    "gguf": taken_home.gguf,
    "files": results.files,
    "time": results.time,
    "notes": results.notes,
}
Tell = Callable[[float, str], None]
# Time to wait for another build that is taking screenshots of all pages.
_MOST_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report on disk; `remarks` say what is missing in it, and why."""

    path: Path
    files: list[str]
    remarks: list[Text] = field(default_factory=list)


def start(workspace: Workspace, run: Run, language: Language, *, with_screenshots: bool = False) -> Job:
    """Start building the report as a job. Raises BadInput if it is already being built, or Chromium is missing."""
    if with_screenshots:
        screenshots.browser.needed()
    busy = Text(f"训练 {run.id} 的报告正在生成", f"the report of {run.id} is already being built")
    with only_one(run.jobs, "report", busy) as begin:
        argv = module_command("core", "report", "build", run.id, "--workspace", workspace.root, "--json")
        argv += ["--screenshots"] if with_screenshots else []
        artefacts = [run.path / "report" / "report.md"]
        return begin(argv, env=speaking(language), artefacts=artefacts, secrets=named_secrets())


def build(
    workspace: Workspace,
    run: Run,
    language: Language,
    out: Path | None = None,
    *,
    with_screenshots: bool = False,
    tell: Tell = lambda _done, _note: None,
) -> Report:
    """Write the report of `run`, replacing an earlier one. Raises BadInput if `out` contains other files."""
    path = (out or run.path / "report").absolute()
    with locked(run.path / ".report.lock", _MOST_SECONDS):
        try:
            _refuse_other_files(path)
            remarks: list[Text] = []
            if with_screenshots:
                remarks += screenshots.take(workspace, run, language, lambda done: tell(0.6 * done, "screenshots"))
            tell(0.6, "report")
            with new_directory(path, replace=True) as partial:
                remarks += _write(workspace, run, language, partial, tell)
        except OSError as error:
            raise BadInput(
                f"报告写不到 {path}（{error.strerror}）：请换一个目录",
                f"the report cannot be written to {path} ({error.strerror}): choose another directory",
            ) from error
    tell(1.0, "done")
    return replace(_at(path), remarks=remarks)


def there(run: Run) -> Report | None:
    """Return the report of `run` at its default place; None if there is none."""
    path = run.path / "report"
    return _at(path) if (path / "report.md").is_file() else None


def outdated(run: Run) -> bool:
    """Return whether the report's sources have changed since it was written."""
    written = (run.path / "report" / "report.md").stat().st_mtime
    sources = (
        run.path / "scores.json",
        outlines.directory(run) / "outline.json",
        *(run.path / "export").glob("*.json"),
        *(run.path / "gguf").glob("*/*.json"),
    )
    return any(source.is_file() and source.stat().st_mtime > written for source in sources)


def markdown(draft: Draft) -> str:
    """Return the report's text as Markdown."""
    nickname = draft.cell(draft.run.nickname or draft.author)
    title = draft.say(f"XTuner 微调：{nickname}的小助手", f"Fine-tuning with XTuner: the assistant of {nickname}")
    day = time.strftime("%Y-%m-%d")
    parts = [
        f"# {title}",
        draft.say(f"作者：{draft.cell(draft.author)} · {day}", f"By {draft.cell(draft.author)}, {day}"),
    ]
    for name in draft.outline.sections:
        found = _SECTIONS[name](draft)
        found += [picture(draft.mask(p.caption), p.file) for p in draft.pictures if p.section == name]
        if found:
            parts += [f"## {TITLES[name].in_(draft.language)}", *found]
    parts.append(draft.say("由 XTuner Studio 生成", "Created with XTuner Studio"))
    return "\n\n".join(parts) + "\n"


def _write(workspace: Workspace, run: Run, language: Language, place: Path, tell: Tell) -> list[Text]:
    """Write the files into the directory `place`; return what is missing, and why."""
    outline, points = outlines.load(run), run.metrics().read()
    charts = _charts(run, language, outline, points, place)
    shots = [shot for shot in screenshots.taken(run, language) if shot.section in outline.sections]
    own = [own for own in outline.pictures if own.section in outline.sections]
    for chosen in (*shots, *own):
        shutil.copyfile(outlines.directory(run) / chosen.file, place / chosen.file)
    draft = Draft(
        workspace=workspace,
        run=run,
        language=language,
        outline=outline,
        points=points,
        pictures=[*charts, *shots, *own],
    )
    tell(0.75, "report")
    text, title = markdown(draft), f"XTuner Studio: {run.id}"
    files = {chosen.file: place / chosen.file for chosen in draft.pictures}
    write_text(place / "report.md", text)
    write_text(place / "report.html", page(text, title, files, language))
    write_text(place / "config.py", draft.mask(run.config.read_text(encoding="utf-8")))
    tell(0.8, "pdf")
    missing = pdf.make(page(text, title, files, language, sans_path()), place / "report.pdf")
    with zipfile.ZipFile(place / "report.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(place.iterdir()):
            if file.name != "report.zip":
                archive.write(file, file.name)
    return [missing] if missing else []


def _charts(run: Run, language: Language, outline: Outline, points: list[dict[str, Any]], place: Path) -> list[Picture]:
    if "training" not in outline.sections:
        return []
    found = []
    if points:
        file = pictures.loss_chart(points, place / "loss.png", language).name
        found.append(Picture(file=file, caption=Text("损失曲线", "loss").in_(language), section="training"))
    samples = pictures.samples_of(run)
    if samples.count >= 2:
        file = pictures.machine_chart(samples, place / "machine.png", language).name
        words = Text("训练时的显存与负载", "memory and utilization during training")
        found.append(Picture(file=file, caption=words.in_(language), section="training"))
    return found


def _refuse_other_files(path: Path) -> None:
    if path.exists():
        others = not path.is_dir() or any(
            file.is_dir() or not (file.name in _FILES or _PICTURES.fullmatch(file.name)) for file in path.iterdir()
        )
        if others:
            raise BadInput(
                f"{path} 里有别的文件：请换一个目录", f"{path} contains other files: choose another directory"
            )


def _at(path: Path) -> Report:
    return Report(path=path, files=sorted(file.name for file in path.iterdir()))
