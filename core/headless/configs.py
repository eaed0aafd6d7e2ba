"""`configs …`: find presets; create, change and check configs; import and export files and recipes."""

import argparse
import json
import sys
from pathlib import Path

from core.config import config as configs
from core.config import exchange, own_recipe
from core.config.check import AGREEMENT
from core.config.check import check as check_config
from core.config.recipe import RECIPES
from core.config.settings.field import parse_setting
from core.engine import consent, interpreter
from core.engine.catalogue import catalogue
from core.engine.config_text import read
from core.engine.presets import matching
from core.forecast.preflight import preflight
from core.ground.errors import BadInput
from core.ground.workspace import Workspace
from core.headless.command import OUT, Answer, Options, Table
from core.training import history

CONFIG = (("config",), {"help": "a config in the workspace"})

KEEP = (
    ("--keep",),
    {
        "action": argparse.BooleanOptionalAction,
        "help": "keep what the base model would say as likely as it was, and teach the rest (LoRA and QLoRA); "
        "default: where the data hold the model's own answers",
    },
)


AGREE = (
    ("--agree",),
    {
        "action": "store_true",
        "help": "allow a config that came from elsewhere or was changed outside the app to be executed",
    },
)


def agree_to(workspace: Workspace, file: Path, preset: str, agree: bool) -> None:
    """With `agree`, allow a config to be executed, and print the lines that are not settings."""
    if not agree or consent.agreed(workspace, text := read(file)):
        return
    for line in consent.beyond_settings(text, preset):
        print(f"{file}:{line.number}: {line.text}", file=sys.stderr)
    consent.agree(workspace, text)


def config_answer(workspace: Workspace, config: configs.Config) -> Answer:
    problems = [problem.to_json() for problem in check_config(workspace, config)]
    return {"name": config.name, "path": str(config.file), "problems": problems}


def configs_list(workspace: Workspace, options: Options) -> Answer:
    xtuner = interpreter.xtuner_directory(workspace)
    found = matching(options.pattern, xtuner)
    answer: Answer = {"presets": found, "configs": [config.name for config in configs.every(workspace)]}
    if options.long:
        answer["meanings"] = {
            name: {
                "model": said.model,
                "method": said.method,
                "kind": said.kind,
                "data": str(said.data),
                "notes": [str(note) for note in said.notes],
            }
            for name in found
            if (said := catalogue(xtuner)[name])
        }
    return answer


def configs_new(workspace: Workspace, options: Options) -> Answer:
    made = configs.make(
        workspace,
        model=options.model,
        dataset=options.dataset,
        preset=options.preset,
        recipe=options.recipe,
        name=options.out,
        settings=dict(map(parse_setting, options.set or [])),
    )
    return config_answer(workspace, made)


def configs_set(workspace: Workspace, options: Options) -> Answer:
    settings = dict(map(parse_setting, options.settings))
    return config_answer(workspace, configs.change(workspace, options.config, settings))


def configs_undo(workspace: Workspace, options: Options) -> Answer:
    return config_answer(workspace, configs.step(workspace, options.config, 1 if options.redo else -1))


def configs_diff(workspace: Workspace, options: Options) -> Answer:
    return {"name": options.config, "diff": configs.find(workspace, options.config).diff()}


def configs_preflight(workspace: Workspace, options: Options) -> Answer:
    config = configs.find(workspace, options.config)
    agree_to(workspace, config.file, config.facts["preset"], options.agree)
    measured = history.measured(workspace)
    found = preflight(
        workspace, config, measured, processes=options.nproc, deepspeed=options.deepspeed, keep=options.keep
    )
    unasked = next((problem for problem in found.problems if problem.where == AGREEMENT), None)
    if unasked is not None:
        raise BadInput(unasked.message.zh, unasked.message.en)
    return found.to_json()


def configs_copy(workspace: Workspace, options: Options) -> Answer:
    made = exchange.copy_preset(workspace, options.preset, Path(options.directory))
    return {"preset": options.preset, "path": str(made.absolute())}


def configs_import(workspace: Workspace, options: Options) -> Answer:
    path = Path(options.file)
    made = exchange.take(
        workspace,
        path.name,
        _text(path),
        model=options.model,
        dataset=options.dataset,
        name=options.out,
        beside=path.absolute().parent,
    )
    agree_to(workspace, made.file, made.facts["preset"], options.agree)
    return config_answer(workspace, made)


def configs_export(workspace: Workspace, options: Options) -> Answer:
    path = exchange.export(workspace, options.config, Path(options.out) if options.out else None)
    return {"name": options.config, "path": str(path.absolute())}


def recipes_list(workspace: Workspace, _: Options) -> Answer:
    own = [{"name": one.name, "about": one.about, "preset": one.preset} for one in own_recipe.every(workspace)]
    return {"recipes": list(RECIPES), "own": own}


def recipes_save(workspace: Workspace, options: Options) -> Answer:
    config = configs.find(workspace, options.config)
    made = own_recipe.save(
        workspace,
        options.name,
        options.about,
        preset=config.facts["preset"],
        text=config.text(),
        base=config.base_text(),
    )
    return {"name": made.name, "path": str(workspace.recipe(made.name))}


def recipes_import(workspace: Workspace, options: Options) -> Answer:
    made = own_recipe.take(workspace, _text(Path(options.file)), options.name)
    return {"name": made.name, "path": str(workspace.recipe(made.name))}


def recipes_export(workspace: Workspace, options: Options) -> Answer:
    made, place = own_recipe.find(workspace, options.name), Path(options.out or f"{options.name}.json")
    if place.exists():
        raise BadInput(f"{place} 已存在：请换一个文件名", f"{place} already exists: choose another file name")
    place.write_text(json.dumps(made.to_json(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return {"name": made.name, "path": str(place.absolute())}


def _text(path: Path) -> str:
    try:
        return read(path)
    except OSError as error:
        raise BadInput(f"读不了 {path}：{error.strerror}", f"cannot read {path}: {error.strerror}") from error


COMMANDS: Table = {
    "configs list": (
        configs_list,
        [
            (("-p", "--pattern"), {}),
            (("--long",), {"action": "store_true", "help": "explain each name"}),
        ],
    ),
    "configs new": (
        configs_new,
        [
            (("--model",), {"required": True}),
            (("--dataset",), {"required": True}),
            (("--preset",), {}),
            (("--recipe",), {"default": "fast", "help": "course, fast, pretrain, preset, or a saved recipe"}),
            OUT,
            (("--set",), {"nargs": "+", "action": "extend", "metavar": "k=v"}),
        ],
    ),
    "configs set": (configs_set, [CONFIG, (("settings",), {"nargs": "+", "metavar": "k=v"})]),
    "configs undo": (configs_undo, [CONFIG, (("--redo",), {"action": "store_true"})]),
    "configs diff": (configs_diff, [CONFIG]),
    "configs preflight": (
        configs_preflight,
        [CONFIG, (("--nproc",), {"type": int, "default": 1}), (("--deepspeed",), {}), KEEP, AGREE],
    ),
    "configs copy": (configs_copy, [(("preset",), {}), (("directory",), {"nargs": "?", "default": "."})]),
    "configs import": (
        configs_import,
        [(("file",), {}), (("--model",), {}), (("--dataset",), {}), OUT, AGREE],
    ),
    "configs export": (configs_export, [CONFIG, OUT]),
    "recipes list": (recipes_list, []),
    "recipes save": (recipes_save, [CONFIG, (("name",), {}), (("--about",), {"default": ""})]),
    "recipes import": (recipes_import, [(("file",), {}), (("--name",), {})]),
    "recipes export": (recipes_export, [(("name",), {}), OUT]),
}
