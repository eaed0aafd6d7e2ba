"""`configs …`: find presets, make configs, change them, see what they would do."""

from core.config import config as configs
from core.config.preflight import preflight
from core.config.recipe import RECIPES
from core.engine import interpreter
from core.engine.presets import matching
from core.ground.workspace import Workspace
from core.headless.command import OUT, Answer, Options, Table
from core.training import history


def config_answer(workspace: Workspace, config: configs.Config) -> Answer:
    problems = [problem.to_json() for problem in configs.check(workspace, config)]
    return {"name": config.name, "path": str(config.file), "problems": problems}


def configs_list(workspace: Workspace, options: Options) -> Answer:
    return {
        "presets": matching(options.pattern, interpreter.xtuner_directory(workspace)),
        "configs": [config.name for config in configs.every(workspace)],
    }


def configs_new(workspace: Workspace, options: Options) -> Answer:
    made = configs.make(
        workspace,
        model=options.model,
        dataset=options.dataset,
        preset=options.preset,
        recipe=options.recipe,
        name=options.out,
        settings=dict(map(configs.parse_setting, options.set or [])),
    )
    return config_answer(workspace, made)


def configs_set(workspace: Workspace, options: Options) -> Answer:
    settings = dict(map(configs.parse_setting, options.settings))
    return config_answer(workspace, configs.change(workspace, options.config, settings))


def configs_diff(workspace: Workspace, options: Options) -> Answer:
    return {"name": options.config, "diff": configs.find(workspace, options.config).diff()}


def configs_preflight(workspace: Workspace, options: Options) -> Answer:
    return preflight(workspace, configs.find(workspace, options.config), history.measured(workspace)).to_json()


COMMANDS: Table = {
    "configs list": (configs_list, [(("-p", "--pattern"), {})]),
    "configs new": (
        configs_new,
        [
            (("--model",), {"required": True}),
            (("--dataset",), {"required": True}),
            (("--preset",), {}),
            (("--recipe",), {"choices": RECIPES, "default": "fast"}),
            OUT,
            (("--set",), {"nargs": "+", "action": "extend", "metavar": "k=v"}),
        ],
    ),
    "configs set": (configs_set, [(("config",), {}), (("settings",), {"nargs": "+", "metavar": "k=v"})]),
    "configs diff": (configs_diff, [(("config",), {})]),
    "configs preflight": (configs_preflight, [(("config",), {})]),
}
