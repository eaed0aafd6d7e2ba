"""The headless commands: `python -m core COMMAND … [--workspace DIR] [--json]`, the same front doors as the pages.

With `--json` stdout is one JSON object; progress and messages go to stderr. Exit 0 done, 1 the work failed,
2 bad input, in one line. What a command does is in `headless`.
"""

import argparse
import json
import sys
from typing import Any, NoReturn

from core import headless
from core.config.recipe import RECIPES
from core.data.assistant import COURSE_N
from core.data.formats import FORMATS
from core.ground.errors import StudioError
from core.ground.workspace import Workspace
from core.headless import Command
from core.report import publish

RUN = (("run",), {"help": "a run id, or latest"})
CLUSTER = [
    (("--nproc",), {"type": int, "default": 1}),
    (("--nnodes",), {"type": int, "default": 1}),
    (("--node-rank",), {"type": int, "default": 0}),
    (("--addr",), {"default": "127.0.0.1"}),
    (("--port",), {"type": int, "default": 29500}),
    (("--deepspeed",), {}),
    (("--wait",), {"action": "store_true"}),
]
OUT = (("--out",), {})
COMMANDS: dict[str, tuple[Command, list[tuple[tuple[str, ...], dict[str, Any]]]]] = {
    "doctor": (headless.doctor, []),
    "models demo": (headless.models_demo, []),
    "models link": (headless.models_link, [(("path",), {}), (("--name",), {})]),
    "models check": (headless.models_check, [(("name",), {})]),
    "models list": (headless.models_list, []),
    "datasets assistant": (
        headless.datasets_assistant,
        [
            (("--name",), {"required": True, "help": "the nickname"}),
            (("--recipe",), {"choices": ("course", "balanced"), "default": "balanced"}),
            (("--n",), {"type": int, "default": COURSE_N}),
            OUT,
        ],
    ),
    "datasets import": (
        headless.datasets_import,
        [(("file",), {}), (("--format",), {"choices": ("auto", *FORMATS), "default": "auto"}), OUT],
    ),
    "datasets check": (headless.datasets_check, [(("dataset",), {})]),
    "datasets stats": (headless.datasets_stats, [(("dataset",), {}), (("--model",), {"required": True})]),
    "datasets list": (headless.datasets_list, []),
    "configs list": (headless.configs_list, [(("-p", "--pattern"), {})]),
    "configs new": (
        headless.configs_new,
        [
            (("--model",), {"required": True}),
            (("--dataset",), {"required": True}),
            (("--preset",), {}),
            (("--recipe",), {"choices": RECIPES, "default": "fast"}),
            OUT,
            (("--set",), {"nargs": "+", "action": "extend", "metavar": "k=v"}),
        ],
    ),
    "configs set": (headless.configs_set, [(("config",), {}), (("settings",), {"nargs": "+", "metavar": "k=v"})]),
    "configs diff": (headless.configs_diff, [(("config",), {})]),
    "configs preflight": (headless.configs_preflight, [(("config",), {})]),
    "train start": (headless.train_start, [(("config",), {}), *CLUSTER]),
    "train status": (headless.train_status, [RUN]),
    "train stop": (headless.train_stop, [RUN, (("--discard",), {"action": "store_true"})]),
    "train resume": (headless.train_resume, [RUN, (("--wait",), {"action": "store_true"})]),
    "train list": (headless.train_list, []),
    "train metrics": (headless.train_metrics, [RUN]),
    "export convert": (headless.export_step("convert"), [RUN, (("--checkpoint",), {})]),
    "export merge": (headless.export_step("merge"), [RUN]),
    "export verify": (headless.export_step("verify"), [RUN]),
    "chat ask": (
        headless.chat_ask,
        [
            (("--prompt",), {"required": True}),
            (("--run",), {}),
            (("--model",), {}),
            (("--max-new-tokens",), {"type": int, "default": 128}),
        ],
    ),
    "chat score": (headless.chat_score, [RUN, (("--checkpoint",), {})]),
    "report build": (headless.report_build, [RUN, OUT]),
    "publish package": (
        headless.publish_package,
        [RUN, (("--target",), {"choices": publish.TARGETS, "required": True}), OUT],
    ),
    "demo": (headless.demo_run, [(("--name",), {"required": True, "help": "the nickname"})]),
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other bad input."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message} (--help)\n")
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """The command line, from the table above."""
    common = Parser(add_help=False)
    common.add_argument("--workspace", help="default: XTUNER_STUDIO_HOME, else ./workspace")
    common.add_argument("--json", action="store_true", help="print one JSON object")
    root = Parser(prog="python -m core", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top = root.add_subparsers(required=True, metavar="COMMAND")
    groups: dict[str, Any] = {}
    for name, (function, arguments) in COMMANDS.items():
        group, _, verb = name.partition(" ")
        if verb and group not in groups:
            groups[group] = top.add_parser(group).add_subparsers(required=True, metavar="VERB")
        leaf = (groups[group] if verb else top).add_parser(verb or group, parents=[common])
        for flags, settings in arguments:
            leaf.add_argument(*flags, **settings)
        leaf.set_defaults(function=function)
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = parser().parse_args(arguments)
    try:
        answer = options.function(Workspace.open(options.workspace), options)
    except StudioError as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(answer, ensure_ascii=False, allow_nan=False))
    elif set(answer) == {"name", "diff"}:
        print(answer["diff"])
    else:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
