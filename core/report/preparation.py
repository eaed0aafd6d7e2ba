"""Report sections about the time before training: task, environment, model, dataset, config, commands."""

import difflib
import json
import os
import shlex
import statistics
from array import array
from pathlib import Path
from typing import Any

from core.data.row import Row
from core.engine.commands import convert_as_typed, merge_as_typed
from core.ground.figures import parameters, share, size, size_of_mb
from core.ground.text import Text
from core.models import model as models
from core.models.agreed import origin
from core.report.markup import table
from core.report.material import Draft
from core.report.pictures import samples_of

SAMPLES = 5
LONGEST_SAMPLE = 200
# Samples are taken from the first rows: a dataset may have a million.
LOOKED_AT = 20_000


def task(draft: Draft) -> list[str]:
    """The task, and for whom."""
    nickname, questions = draft.cell(draft.run.nickname or draft.author), draft.run.questions
    base = draft.cell(draft.run.facts.model.name)
    asked = [f"- {draft.cell(question)}" for question in questions]
    return [
        draft.say(
            f"用 XTuner 微调 {base}，让模型知道自己是 **{nickname}** 的小助手：造数据、改配置、训练、转换、合并，"
            "并对比微调前后的回答。",
            f"Use XTuner to fine-tune {base} until it knows that it is the assistant of **{nickname}**: create the data, edit the config, train, convert, merge, and compare the answers before and after.",
        ),
        draft.say("训练前后问模型的问题：", "What the model is asked before and after:") + "\n\n" + "\n".join(asked),
    ]


def environment(draft: Draft) -> list[str]:
    """The machine and the versions that the run was trained with."""
    say, versions = draft.say, draft.run.facts.versions
    rows = [[draft.cell(name), draft.cell(version or "-")] for name, version in versions.items()]
    samples = samples_of(draft.run)
    if samples.count:
        cards = [f"{card['name']} ({size_of_mb(card['total_mb'])})" for card in samples.gpus]
        rows = [
            ["GPU", draft.cell(", ".join(cards) or say("无（在 CPU 上训练）", "none (trained on the CPU)"))],
            [say("内存", "memory"), size_of_mb(samples.last.get("memory_total_mb"))],
            *rows,
        ]
    rows = [[say("系统", "system"), draft.cell(f"{os.uname().sysname} {os.uname().machine}")], *rows]
    return [table([say("组件", "component"), say("版本", "version")], rows)]


def model(draft: Draft) -> list[str]:
    """The base model: its facts and files."""
    say, facts = draft.say, draft.run.facts.model
    rows = [
        [
            draft.cell(facts.name),
            draft.cell(facts.architecture or "-"),
            parameters(facts.parameters),
            draft.cell(draft.run.template.title),
        ]
    ]
    parts = [
        table(
            [
                say("名称", "name"),
                say("结构", "architecture"),
                say("参数量", "parameters"),
                say("对话模板", "template"),
            ],
            rows,
        )
    ]
    path = draft.run.model_path
    if path.is_dir():
        if path.is_symlink():
            parts.append(draft.code(shlex.join(["ln", "-s", str(origin(path)), str(path)]), "bash"))
        parts.append(draft.tree(path, 2, origin(path) if path.is_symlink() else None))
        found = models.look(path)
        what = f"{size(found.bytes)}, {found.dtype or '-'}, {found.layers} layers"
        parts.append(
            say(f"权重 {size(found.bytes)}，精度 {found.dtype or '-'}，{found.layers} 层。", f"Weights: {what}.")
        )
    return parts


def dataset(draft: Draft) -> list[str]:
    """The data: how it was created, its contents, samples."""
    say, facts = draft.say, draft.run.facts.dataset
    parts = [_how_it_was_made(draft, facts.made)]
    there = draft.dataset
    figures = [
        [say("名称", "name"), draft.cell(facts.name)],
        [say("行数", "rows"), f"{facts.rows:,}"],
        ["SHA-256", f"`{facts.sha256[:16]}…`"],
    ]
    if there is None:
        return [*parts, table([say("项目", "item"), say("值", "value")], figures)]
    most, lengths = 0, {part: array("Q") for part in ("input", "output")}
    for row in there.each():
        most = max(most, len(row["conversation"]))
        for turn in row["conversation"]:
            for part, found in lengths.items():
                found.append(len(turn[part]))
    figures += [
        [say("不同的行", "unique rows"), f"{there.unique_rows:,}"],
        [say("对话轮数（最多）", "turns (maximum)"), str(most)],
        [say("文件大小", "file size"), size(there.data.stat().st_size)],
    ]
    for part, name in (("input", say("问题", "question")), ("output", say("回答", "answer"))):
        middle = f"{statistics.median(lengths[part]):.0f} / {max(lengths[part])}"
        figures.append([say(f"{name}字数（中位 / 最长）", f"characters of a {name} (median / longest)"), middle])
    parts.append(table([say("项目", "item"), say("值", "value")], figures))
    parts.append(say("其中几条：", "Sample rows:"))
    samples = _samples(there.page(0, LOOKED_AT), there.nickname)
    parts.append(draft.code(json.dumps(samples, ensure_ascii=False, indent=2), "json"))
    return parts


def _how_it_was_made(draft: Draft, made: dict[str, Any]) -> str:
    say, cell = draft.say, draft.cell
    kind, of = made.get("kind"), cell(made.get("of") or "-")
    nickname = cell(made.get("nickname") or "-")
    if kind == "edit":
        done = made["changes"]
        return say(
            f"数据集 {of} 改动后的第 {made['version']} 版：改了 {done['changed']} 行，加了 {done['added']} 行，"
            f"删了 {done['deleted']} 行，对全部行的改动 {done['all_rows']} 次。",
            f"Version {made['version']}, an edit of the dataset {of}: {done['changed']} rows changed, {done['added']} "
            f"added, {done['deleted']} deleted, {done['all_rows']} bulk edits.",
        )
    if kind == "split":
        percent = share(made["share"] if made["part"] == "held_out" else 1 - made["share"])
        return say(
            f"从数据集 {of} 中按问题分出约 {percent} 的行（种子 {made['seed']}）。",
            f"About {percent} of the rows of the dataset {of}, selected by question (seed {made['seed']}).",
        )
    if kind == "corpus":
        how, files = made["wanted"], "、".join(cell(name) for name in made["files"][:5])
        return say(
            f"由 {len(made['files'])} 个文件（{files}{'等' if len(made['files']) > 5 else ''}）的文字切成：每块最多 "
            f"{how['chunk']} 字，重叠 {how['overlap']} 字"
            + (f"；另有 {made['held_out']} 段留出不训练，用来评分。" if made.get("held_out") else "。"),
            f"Created from the text of {len(made['files'])} files ({files}{', …' if len(made['files']) > 5 else ''}): chunks "
            f"of at most {how['chunk']} characters, overlapping by {how['overlap']}"
            + (f"; another {made['held_out']} are held out for the scores." if made.get("held_out") else "."),
        )
    if made.get("recipe") == "course":
        return say(
            f"用课程的脚本写法生成：两条关于 {nickname} 的小助手的对话，各重复 n = {made.get('n')} 次。",
            f"Created as in the course's script: two conversations about {nickname}'s assistant, each repeated n = {made.get('n')} times.",
        )
    if kind == "assistant":
        own = made.get("replay_model")
        of_its_own = (f"（由 {cell(own)} 自己回答）", f" ({cell(own)}'s own answers)") if own else ("", "")
        return say(
            f"用 {made.get('recipe')} 配方生成：多种问法教模型它是 {nickname} 的小助手，再混入普通问答{of_its_own[0]}，"
            "让它保留原有的能力。",
            f"Created by the recipe {made.get('recipe')}: varied phrasings that teach the model that it is {nickname}'s assistant, mixed with general rows{of_its_own[1]} that preserve its other abilities.",
        )
    source = cell(made.get("file") or made.get("source") or kind or "-")
    return say(
        f"导入自 {source}（格式 {cell(made.get('format') or '-')}，跳过 {made.get('skipped', 0)} 行）。",
        f"Imported from {source} (format {cell(made.get('format') or '-')}, {made.get('skipped', 0)} rows skipped).",
    )


def _samples(rows: list[Row], nickname: str | None) -> list[Any]:
    """Return a few unique rows: first those with the nickname, then others."""
    unique = list({json.dumps(row, sort_keys=True, ensure_ascii=False): row for row in rows}.values())
    with_name = [row for row in unique if nickname and nickname in json.dumps(row, ensure_ascii=False)]
    others = [row for row in unique if row not in with_name[:3]]
    return [_shortened(row) for row in (with_name[:3] + others)[:SAMPLES]]


def _shortened(row: Row) -> Any:
    def short(text: str) -> str:
        return text if len(text) <= LONGEST_SAMPLE else text[:LONGEST_SAMPLE] + "…"

    # In addition to texts, a turn may have a flag that it is truncated.
    turns = [
        {part: short(text) if isinstance(text, str) else text for part, text in turn.items()}
        for turn in row["conversation"][:3]
    ]
    return {"conversation": turns}


def config(draft: Draft) -> list[str]:
    """The config: its preset, each edit with its reason, and the diff."""
    say, facts = draft.say, draft.run.facts.config
    parts = [
        say(
            f"由 XTuner 预设 `{facts.preset}` 按 {facts.recipe} 配方改成。",
            f"Created from XTuner's preset `{facts.preset}` with the recipe {facts.recipe}.",
        )
    ]
    reasons = [
        [draft.cell(edit["path"]), draft.cell(Text(edit["why"]["zh"], edit["why"]["en"]).in_(draft.language))]
        for edit in facts.edits
    ]
    if reasons:
        parts.append(table([say("改动", "change"), say("原因", "why")], reasons))
    parts.append(draft.code(_difference(draft), "diff"))
    return parts


def _difference(draft: Draft) -> str:
    run = draft.run
    base, mine = ((run.path / name).read_text(encoding="utf-8").splitlines() for name in ("base.py", "config.py"))
    preset = f"{run.facts.config.preset}.py"
    return "\n".join(difflib.unified_diff(base, mine, preset, "config.py", lineterm="", n=1))


def commands(draft: Draft) -> list[str]:
    """The course's equivalent commands."""
    run, found = draft.run, draft.exported
    lines = [
        "# " + draft.say("复制预设，再改成上面的配置", "copy the preset, then edit it as above"),
        shlex.join(["xtuner", "copy-cfg", run.facts.config.preset, "."]),
        "# " + draft.say("训练", "train"),
        run.facts.command,
    ]
    if found.adapter:
        lines += [
            "# " + draft.say("转换成 Hugging Face 格式", "convert to Hugging Face's form"),
            "export MKL_SERVICE_FORCE_INTEL=1 MKL_THREADING_LAYER=GNU",
            convert_as_typed(run.config, Path(found.adapter["checkpoint"]), run.adapter),
            "# " + draft.say("合并到基座模型", "merge into the base model"),
            merge_as_typed(run.model_path, run.adapter, run.merged),
        ]
    return [draft.code("\n".join(lines), "bash")]
