"""The writeup of a run: a directory with report.md, report.html (self-contained) and the pictures.

Renders what other rooms have on disk; computes nothing anew and stores no numbers.
"""

import base64
import difflib
import html
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from core.chat.diagnosis import diagnose
from core.chat.score import stored
from core.engine.commands import convert_as_typed, merge_as_typed
from core.export.export import exported
from core.ground.errors import BadInput
from core.ground.files import new_directory, write_text
from core.ground.text import Language, Text
from core.ground.workspace import Workspace
from core.report.pictures import loss_chart
from core.training.run import Run

_FILES = {"report.md", "report.html", "loss.png", "config.py"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report on disk."""

    path: Path
    files: list[str]


def build(workspace: Workspace, run: Run, language: Language, out: Path | None = None) -> Report:
    """Write the report of `run`; a report of ours that is there is replaced. Raises BadInput for another directory."""
    path = (out or run.path / "report").absolute()
    try:
        if path.exists():
            if not path.is_dir() or {file.name for file in path.iterdir()} - _FILES:
                raise BadInput(
                    f"{path} 里有别的文件：请换一个目录", f"{path} holds other files: choose another directory"
                )
        with new_directory(path, replace=True) as partial:
            points = run.metrics().read()
            pictures = {"loss.png": loss_chart(points, partial / "loss.png", language)} if points else {}
            text = markdown(workspace, run, language, bool(points))
            write_text(partial / "report.md", text)
            write_text(partial / "report.html", page(text, f"XTuner Studio: {run.id}", pictures, language))
            shutil.copyfile(run.config, partial / "config.py")
    except OSError as error:
        raise BadInput(
            f"报告写不到 {path}（{error.strerror}）：请换一个目录",
            f"the report cannot be written to {path} ({error.strerror}): choose another directory",
        ) from error
    return Report(path=path, files=sorted(file.name for file in path.iterdir()))


def there(run: Run) -> Report | None:
    """The report of `run` in its usual place, None where none was built."""
    path = run.path / "report"
    if not (path / "report.md").is_file():
        return None
    return Report(path=path, files=sorted(file.name for file in path.iterdir()))


def markdown(workspace: Workspace, run: Run, language: Language, with_chart: bool) -> str:
    """The report's text, in Markdown."""

    def say(zh: str, en: str) -> str:
        return Text(zh, en).in_(language)

    state, scores, found = run.state(), stored(run), exported(run)
    nickname = escaped(run.nickname or "-")
    parts = [f"# {say(f'XTuner 微调：{nickname}的小助手', f'Fine-tuning with XTuner: the assistant of {nickname}')}"]
    parts += [
        f"## {say('任务', 'Task')}",
        say(
            "用 XTuner 微调 InternLM2，让模型知道自己是谁的小助手。",
            "Fine-tune InternLM2 with XTuner, so that the model knows whose assistant it is.",
        ),
        f"## {say('环境', 'Environment')}",
        _table(
            [say("组件", "component"), say("版本", "version")],
            [[name, version or "-"] for name, version in run.facts["versions"].items()],
        ),
        f"## {say('模型', 'Model')}",
        _table(
            [say("名称", "name"), say("结构", "architecture"), say("参数量", "parameters")],
            [
                [
                    run.facts["model"]["name"],
                    escaped(run.facts["model"]["architecture"] or "-"),
                    f"{run.facts['model']['parameters']:,}",
                ]
            ],
        ),
        f"## {say('数据集', 'Dataset')}",
        _table(
            [say("名称", "name"), say("配方", "recipe"), say("行数", "rows"), "SHA-256"],
            [
                [
                    run.facts["dataset"]["name"],
                    run.facts["dataset"].get("recipe") or run.facts["dataset"].get("format") or "-",
                    str(run.facts["dataset"]["rows"]),
                    run.facts["dataset"]["sha256"][:16],
                ]
            ],
        ),
        f"## {say('配置：相对预设的改动', 'Config: the changes against the preset')}",
        _code(_config_diff(run), "diff"),
        f"## {say('命令', 'Commands')}",
        _code("\n".join(_commands(run, found.adapter)), "bash"),
        f"## {say('训练', 'Training')}",
        _table(
            [
                say("状态", "status"),
                say("迭代", "iterations"),
                say("用时（秒）", "seconds"),
                say("最后的损失", "last loss"),
            ],
            [
                [
                    str(state.status),
                    f"{state.iter} / {state.max_iters or '-'}",
                    f"{state.seconds:.0f}",
                    _number(state.loss),
                ]
            ],
        ),
    ]
    if with_chart:
        parts.append(f"![{say('损失曲线', 'loss')}](loss.png)")
    timeline = run.timeline()
    if timeline:
        parts.append(f"### {say('看着它学', 'Watching it learn')}")
        rows = [[str(at.iter), *(escaped(answer) for answer in at.answers)] for at in timeline]
        parts.append(_table([say("迭代", "iteration"), *map(escaped, run.questions)], rows))
    if scores:
        diagnosis = diagnose(scores)
        parts += [
            f"## {say('微调前后', 'Before and after')}",
            _table(
                [say("指标", "score"), say("微调前", "before"), say("微调后", "after")],
                [
                    [say("身份", "identity"), _percent(scores.identity["base"]), _percent(scores.identity["tuned"])],
                    [
                        say("原有能力保持", "retention"),
                        _percent(scores.retention["base"]),
                        _percent(scores.retention["tuned"]),
                    ],
                    [say("不问也报身份", "parrot"), _percent(scores.parrot["base"]), _percent(scores.parrot["tuned"])],
                ],
            ),
            f"{diagnosis.words.in_(language)}。" if language == "zh" else f"{diagnosis.words.en}.",
            _table(
                [say("问题", "question"), say("微调前", "before"), say("微调后", "after")],
                [
                    [escaped(q.question), escaped(q.base), escaped(q.tuned)]
                    for q in scores.questions[:12] + scores.questions[-6:]
                ],
            ),
        ]
    if found.verified:
        verdict = say("一致", "the same") if found.verified["ok"] else say("不一致", "different")
        parts += [
            f"## {say('合并校验', 'Verification of the merge')}",
            say(
                f"合并后的模型与“基座 + 适配器”的回答：{verdict}；logits 最大差 {found.verified['max_abs_logit_diff']:.2e}。",
                f"The answers of the merged model and of base + adapter: {verdict}; largest logit difference "
                f"{found.verified['max_abs_logit_diff']:.2e}.",
            ),
        ]
    parts += [f"## {say('文件', 'Files')}", _code(_tree(run.path), "text")]
    parts.append(say("由 XTuner Studio 生成于 ", "Made by XTuner Studio on ") + time.strftime("%Y-%m-%d"))
    # Paths in a report that is published tell nobody whose machine it was.
    text = "\n\n".join(parts).replace(str(workspace.root), "WORKSPACE") + "\n"
    return text.replace(str(Path.home()), "~") if Path.home() != Path("/") else text


def page(text: str, title: str, pictures: dict[str, Path], language: Language) -> str:
    """The Markdown as one HTML page that loads nothing: pictures are inside."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    for name, path in pictures.items():
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        body = body.replace(f'src="{name}"', f'src="data:image/png;base64,{data}"')
    style = (
        "body{font-family:system-ui,'Noto Sans CJK SC','Microsoft YaHei',sans-serif;max-width:60rem;margin:2rem auto;"
        "padding:0 1rem;line-height:1.6;color:#1f2328}table{border-collapse:collapse;width:100%}td,th{border:1px solid "
        "#d0d7de;padding:.4rem .6rem;text-align:left;vertical-align:top}pre{background:#f6f8fa;padding:1rem;overflow:auto}"
        "img{max-width:100%}"
    )
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style></head><body>{body}</body></html>\n"
    )


def _config_diff(run: Run) -> str:
    base, config = ((run.path / name).read_text(encoding="utf-8").splitlines() for name in ("base.py", "config.py"))
    return "\n".join(
        difflib.unified_diff(base, config, f"{run.facts['config']['preset']}.py", "config.py", lineterm="", n=1)
    )


def _commands(run: Run, adapter: dict[str, str] | None) -> list[str]:
    lines = [run.facts["command"]]
    if adapter:
        lines.append(convert_as_typed(run.config, Path(adapter["checkpoint"]), run.adapter))
        lines.append(merge_as_typed(run.model_path, run.adapter, run.merged))
    return lines


def _tree(root: Path) -> str:
    lines = [root.name + "/"]
    for path in sorted(root.rglob("*")):
        depth = len(path.relative_to(root).parts)
        if (
            depth <= 3
            and not path.name.startswith(".")
            and not any(part in ("jobs", "report") for part in path.relative_to(root).parts)
        ):
            lines.append("    " * depth + path.name + ("/" if path.is_dir() else ""))
    return "\n".join(lines)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _code(text: str, language: str) -> str:
    fence = "`" * 4
    return f"{fence}{language}\n{text}\n{fence}"


def escaped(text: str) -> str:
    """Text as it is, in one line of Markdown or a cell of a table."""
    marked = "".join("\\" + character if character in "\\|*_`<>[]&~" else character for character in text)
    return " ".join(marked.split()) or "…"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
